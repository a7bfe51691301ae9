use super::Cx;
use crate::reply::{Outcome, Reply};
use crate::wire;

pub(super) async fn get(cx: Cx) -> Outcome {
    let workspace = cx.workspace()?;
    Ok(Reply::json(200, &wire::workspace(&cx.core, &workspace)))
}
