//! The page of a person's own tokens. It belongs to no organization: such a token acts as the person wherever that
//! person is a member.

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, ResponseError, web};
use serde_json::json;

use super::token_form::{NewToken, TokenForm, TokenPart};
use super::{
    CsrfForm, Flash, Nothing, ScopeSet, Shell, SignedIn, create_user_token, redirect_with,
    revoke_user_token, store,
};
use crate::app::App;
use crate::error::{AppError, AppResult};

const ADDRESS: &str = "/account/tokens/";

impl SignedIn {
    /// What this person may do somewhere: the most that a token of theirs can be given.
    fn scopes(&self) -> ScopeSet {
        ScopeSet::of_roles(self.orgs.iter().map(|(_, role)| *role))
    }
}

/// `GET /account/tokens/`.
///
/// # Errors
/// 401, for a browser the sign-in page, for who is not signed in.
pub async fn page(
    app: web::Data<App>,
    req: HttpRequest,
    signed_in: SignedIn,
) -> AppResult<HttpResponse> {
    render(
        &app,
        &req,
        &signed_in,
        &TokenForm::default(),
        None,
        StatusCode::OK,
    )
    .await
}

async fn render(
    app: &App,
    req: &HttpRequest,
    signed_in: &SignedIn,
    form: &TokenForm,
    new_token: Option<(String, String)>,
    status: StatusCode,
) -> AppResult<HttpResponse> {
    let user = signed_in.user.id;
    let tokens = app
        .db
        .read(move |conn| Ok::<_, AppError>(store::list_user_tokens(conn, user)?))
        .await?;
    let tokens: Vec<_> = tokens.into_iter().map(TokenPart::from).collect();
    let content = json!({
        "tokens": tokens,
        "new_token": new_token.map(|(name, token)| json!({ "name": name, "token": token })),
        "scopes": form.offered(signed_in.scopes()),
        "form": form.content(),
    });
    let mut shell = Shell::new(app, req, "My tokens", "")
        .user(&signed_in.user)
        .orgs(signed_in.orgs.iter().map(|(org, _)| org));
    // Who is in one organization keeps its navigation; of several none is the right one here.
    if let [(org, _)] = signed_in.orgs.as_slice() {
        shell = shell.org(org);
    }
    shell.page_with_status(app, status, "accounts/my_tokens.html", content)
}

/// Makes a token and shows it, once, on the page that answers.
///
/// # Errors
/// The page again, with what to correct.
pub async fn create(
    app: web::Data<App>,
    req: HttpRequest,
    signed_in: SignedIn,
    form: CsrfForm<NewToken>,
) -> AppResult<HttpResponse> {
    let (name, scopes) = match form.0.check() {
        Ok(given) => given,
        Err(again) => {
            let status = StatusCode::BAD_REQUEST;
            return render(&app, &req, &signed_in, &again, None, status).await;
        }
    };
    let (user, actor, now) = (
        signed_in.user.id,
        signed_in.user.shown_name().to_owned(),
        app.clock.now(),
    );
    let given = name.clone();
    let made = app
        .db
        .write(move |tx| create_user_token(tx, user, &actor, &given, scopes, now))
        .await;
    match made {
        Ok(token) => {
            let (form, shown) = (TokenForm::default(), Some((name, token)));
            render(&app, &req, &signed_in, &form, shown, StatusCode::OK).await
        }
        Err(error) if error.code() == "invalid" => {
            let again = TokenForm::refused(name, scopes, error.detail());
            render(&app, &req, &signed_in, &again, None, error.status_code()).await
        }
        Err(error) => Err(error),
    }
}

/// Revokes a token of the person.
///
/// # Errors
/// 404 when it is somebody else's, an organization's, or gone.
pub async fn revoke(
    app: web::Data<App>,
    path: web::Path<i64>,
    signed_in: SignedIn,
    _form: CsrfForm<Nothing>,
) -> AppResult<HttpResponse> {
    let (user, actor, now) = (
        signed_in.user.id,
        signed_in.user.shown_name().to_owned(),
        app.clock.now(),
    );
    let id = path.into_inner();
    app.db
        .write(move |tx| revoke_user_token(tx, user, &actor, id, now))
        .await?;
    let done = Flash::ok("The token is revoked; calls with it are refused from now on.");
    Ok(redirect_with(&app, ADDRESS, &done))
}
