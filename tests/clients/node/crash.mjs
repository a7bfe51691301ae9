// Crash through three frames and report it with @sentry/node, as an ordinary program would.
//
//   crash.mjs DSN [--release R] [--environment E] [--message TEXT] [--times N]
//
// Prints one JSON line per event: {"event_id": "<32 hex>", "type": "TypeError"}, and one per answer:
// {"event_id", "status"}. Exits with 1 unless each event was answered 200 within ten seconds.
import { parseArgs } from 'node:util';
import * as Sentry from '@sentry/node';

const { values: options, positionals: [dsn] } = parseArgs({
  allowPositionals: true,
  options: {
    release: { type: 'string' },
    environment: { type: 'string' },
    message: { type: 'string' },
    times: { type: 'string', default: '1' },
  },
});
if (!dsn) {
  console.error('usage: crash.mjs DSN [--release R] [--environment E] [--message TEXT] [--times N]');
  process.exit(2);
}

const client = Sentry.init({ dsn, release: options.release, environment: options.environment });
let accepted = 0;
client.on('afterSendEvent', ({ event_id }, { statusCode: status }) => {
  if (status === 200) accepted += 1;
  console.log(JSON.stringify({ event_id, status }));
});

function firstGuest(table) {
  return table.guests[0].name;
}

function closeTable(table) {
  return `bill for ${firstGuest(table)}`;
}

function serve(tables) {
  return tables.map(closeTable);
}

for (let n = 0; n < Number(options.times); n += 1) {
  try {
    if (options.message) throw new Error(options.message);
    serve([{ guests: [] }]);
  } catch (error) {
    const event_id = Sentry.captureException(error);
    console.log(JSON.stringify({ event_id, type: error.name }));
  }
}
await Sentry.flush(10_000);
process.exit(accepted === Number(options.times) ? 0 : 1);
