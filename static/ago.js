// Keeps the distances in <time data-ago> fresh. The steps are those of the server's `ago` filter.

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const MONTH = 30 * DAY;
const YEAR = 365 * DAY;

// The server's clock decides; a browser's may be wrong by hours.
const skew = Number(document.body.dataset.now) / 1000 - Date.now();

function distance(at) {
  const seconds = Math.trunc((Date.now() + skew - at) / 1000);
  const size = Math.abs(seconds);
  if (size < 45) return "just now";
  let text;
  if (size < HOUR) text = `${Math.max(1, Math.floor(size / MINUTE))} min`;
  else if (size < DAY) text = `${Math.floor(size / HOUR)} h`;
  else if (size < MONTH) text = `${Math.floor(size / DAY)} d`;
  else if (size < YEAR) text = `${Math.floor(size / MONTH)} mo`;
  else text = `${Math.floor(size / YEAR)} y`;
  return seconds < 0 ? `in ${text}` : `${text} ago`;
}

function refresh() {
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const at = Date.parse(time.dateTime);
    if (Number.isNaN(at)) continue;
    const text = distance(at);
    if (time.textContent !== text) time.textContent = text;
  }
}

if (Number.isFinite(skew)) {
  setInterval(refresh, 20_000);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) refresh();
  });
}
