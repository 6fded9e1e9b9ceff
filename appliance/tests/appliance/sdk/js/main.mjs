// Scenarios of a game's life on the JavaScript SDK, each by itself against the running appliance.
//
// Usage: main.mjs MODULES json|protobuf GAME_URL ADMIN_URL API_KEY TOKEN_SECRET [NAME...] [-NAME...]
// Runs those with a NAME in theirs, or all; without those with a -NAME. One line a scenario;
// `N held, N failed` at the end.

import { closeAll } from './kit.mjs';
import * as connection from './connection.mjs';
import * as subscription from './subscription.mjs';
import * as recovery from './recovery.mjs';
import * as backend from './backend.mjs';
import * as transport from './transport.mjs';

const wanted = process.argv.slice(8).filter((word) => !word.startsWith('-'));
const left_out = process.argv.slice(8).filter((word) => word.startsWith('-')).map((word) => word.slice(1));
const subjects = { connection, subscription, recovery, backend, transport };
let held = 0;
let failed = 0;

for (const kind of ['unhandledRejection', 'uncaughtException']) {
  process.on(kind, (error) => {
    console.log('FAILED', kind, error);
    failed += 1;
  });
}

for (const [subject, scenarios] of Object.entries(subjects)) {
  for (const [scenario, run] of Object.entries(scenarios)) {
    const name = `${subject}.${scenario}`;
    if (wanted.length && !wanted.some((part) => name.includes(part))) continue;
    if (left_out.some((part) => name.includes(part))) {
      console.log('left out', name);
      continue;
    }
    const start = Date.now();
    try {
      await run();
      held += 1;
      console.log('held  ', name, `${Date.now() - start} ms`);
    } catch (error) {
      failed += 1;
      console.log('FAILED', name, error.stack);
    }
    closeAll();
  }
}
console.log(`${held} held, ${failed} failed`);
process.exit(failed ? 1 : 0);
