"""An independent client judges the Bitbucket stand-in: `atlassian-python-api`, which checks the type of every object
and follows the links in them.

    bitbucket_client.py < {"url", "workspace", "repo", "commit", "token"}

Prints one JSON line per step: {"step": name, ...what the client read}. Leaves the issue `Kept` with a comment, no other
issue and no hook. An answer that the client cannot read, or an unexpected one, ends it with status 1.
"""

import json
import sys

from atlassian.bitbucket import Cloud
from atlassian.bitbucket.cloud.repositories.diffstat import DiffStat
from requests import HTTPError


def say(step, **what):
    print(json.dumps({"step": step, **what}), flush=True)


def refused(call):
    try:
        call()
    except HTTPError as error:
        return {"status": error.response.status_code, "message": str(error)}
    raise AssertionError("this call should have been refused")


def source(repo, commit):
    first = repo.commits.get(commit)
    author = first.author
    say(
        "commit",
        hash=first.hash,
        date=first.date is not None,
        author=[author.display_name, author.nickname],
        parents=[parent.hash for parent in first.parents()],
    )
    say("commits", messages=[commit.message.strip() for commit in repo.commits.each()])
    older = repo.commits.each(top=commit)
    say("commits up to one", messages=[commit.message.strip() for commit in older])
    # The client has a class for the rows, and a call for those of pull requests only.
    rows = [DiffStat(row) for row in repo._get_paged(f"diffstat/{commit}")]
    say("diffstat", files=[[row.old.path, row.new.path, row.lines_added, row.lines_removed] for row in rows])
    say("diff", text=repo.get(f"diff/{commit}", not_json_response=True).decode())
    say("source", text=repo.get_source_file(commit, "menu.txt").decode())
    say("branches", branches=[[branch.name, branch.hash] for branch in repo.branches.each()])
    say("pull requests", count=len(list(repo.pullrequests.each())))


def pull_requests(repo):
    tea = repo.branches.get("tea")
    made = repo.pullrequests.create("Serve more tea", "tea", "main", description="Green, too.", close_source_branch=False)
    say(
        "pull request",
        title=made.title,
        branches=[made.source_branch, made.destination_branch],
        open=made.is_open,
        author=made.get_data("author")["display_name"],
        heads=[tea.hash.startswith(made.source_commit), made.destination_commit != made.source_commit],
    )
    made.comment("Which kinds?")
    say("pull request comments", texts=[comment.raw for comment in made.comments()])
    say("pull request files", files=[[row.old and row.old.path, row.new.path] for row in made.diffstat()])
    say("pull request diff", text=made.diff())
    say("pull request commits", messages=[commit.message.strip() for commit in made.commits])
    head = repo.commits.get(tea.hash)
    head.add_build("tracker", url="https://tracker.example/1", description="2 new errors", refname="tea", state="FAILED")
    say("builds", of_commit=[[build.key, build.failed] for build in head.builds()], of_pull=[build.key for build in made.builds()])
    say("pull requests of the commit", titles=[row["title"] for row in head._get_paged("pullrequests")])
    made.merge("merge_commit")
    merged = repo.pullrequests.get(made.id)
    say("merged", merged=merged.is_merged, open=len(list(repo.pullrequests.each())))


def issues(cloud, repo):
    kept = repo.issues.create("Kept", "About Kept.", "bug", "major")
    say("issue created", id=kept.id, title=kept.title, state=kept.state, text=kept.content["raw"], time=kept.created_on is not None)
    gone = repo.issues.create("Gone", "About Gone.", "task", "minor")
    say("issues", titles=sorted(issue.title for issue in repo.issues.each()))
    say("issues found", titles=[issue.title for issue in repo.issues.each(q='title ~ "kep"', sort="-id")])
    kept.state = "resolved"
    again = repo.issues.get(kept.id)
    say("issue updated", state=again.state, kind=again.kind, priority=again.priority)
    # The client has no class for comments of issues: only the plain calls under it.
    comment = cloud.post(f"{kept.url}/comments", data={"content": {"raw": "Fixed."}}, absolute=True)
    texts = [comment["content"]["raw"] for comment in kept._get_paged("comments")]
    say("comments", type=comment["type"], texts=texts)
    gone.delete()
    say("issue deleted", **refused(lambda: repo.issues.get(gone.id)))
    say("no title", **refused(lambda: repo.issues.create("", "", "bug", "major")))


def hooks(repo):
    hook = repo.hooks.create("https://hooks.example/in", "From a client", ["repo:push"])
    say("hook created", url=hook.webhook_url(), events=hook.events(), active=hook.active())
    uuid = hook.uuid()
    say("hooks", found=uuid in [hook.uuid() for hook in repo.hooks.each()])
    hook.update(active=False)
    say("hook updated", active=hook.active(), description=hook.description())
    hook.delete()
    say("hook deleted", left=len(list(repo.hooks.each())))


def main():
    config = json.load(sys.stdin)
    cloud = Cloud(config["url"], token=config["token"])
    workspace = cloud.workspaces.get(config["workspace"])
    say("workspace", slug=workspace.slug, name=workspace.name)
    # Ten to a page.
    say("repositories", names=[repo.get_data("full_name") for repo in workspace.repositories.each(sort="name")])
    repo = workspace.repositories.get(config["repo"])
    say("repository", name=repo.name, slug=repo.slug, exists=workspace.repositories.exists("not-there"))
    say("no repository", **refused(lambda: workspace.repositories.get("not-there")))
    source(repo, config["commit"])
    pull_requests(repo)
    issues(cloud, repo)
    hooks(repo)


if __name__ == "__main__":
    main()
