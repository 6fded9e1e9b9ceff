// The demo page in Chromium, driven by Playwright: two visitors and a backend share a hunt.
//
// Usage: browser.mjs DIRECTORY_OF_NODE_MODULES CHROMIUM ADMIN_URL API_KEY SCREENSHOT
// Prints `ok` at the end; anything that is not as it should be is an exception.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const [modules, executablePath, admin, key, screenshot] = process.argv.slice(2);
const { chromium } = createRequire(`${modules}/`)('playwright-core');

const HUNT = 'demo:harbour';
const CLUES = [
  [0.12, 0.7, 'The tide table on the pier hides a number'],
  [0.62, 0.22, 'Count the arches of the old bridge'],
  [0.86, 0.55, 'Ask the lighthouse keeper for the blue key'],
  [0.45, 0.85, '<b>Not bold</b> <img src=x onerror="document.title=1">'],
  [0.28, 0.18, 'The bell rings thirteen'],
];

const complaints = [];

/** Opens the page as a new visitor and joins. */
async function visit(browser) {
  const page = await (await browser.newContext({ viewport: { width: 1240, height: 720 } })).newPage();
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(String(error)));
  await page.goto(`${admin}/demo`);
  await page.getByRole('button', { name: 'Join' }).click();
  await page.locator('#state[data-state="joined"]').waitFor();
  return page;
}

/** Clicks the map at these shares of its size, types, publishes; gives the place in pixels. */
async function publish(page, [x, y, text]) {
  const box = await page.locator('#map').boundingBox();
  const position = { x: Math.round(box.width * x), y: Math.round(box.height * y) };
  await page.locator('#map').click({ position });
  await page.locator('#text').fill(text);
  await page.getByRole('button', { name: 'Publish here' }).click();
  return position;
}

async function publishAsBackend([x, y, text]) {
  const answer = await fetch(`${admin}/api/publish`, {
    method: 'POST',
    headers: { 'X-API-Key': key, 'Content-Type': 'application/json' },
    body: JSON.stringify({ channel: HUNT, data: { x, y, text } }),
  });
  assert.ok((await answer.json()).result.offset);
}

const see = (page, text) => page.locator('#clues li', { hasText: text }).waitFor();

/** Offsets and words of all clues, in the order in which they came. */
const clues = (page) => page.locator('#clues li').evaluateAll(
  (items) => items.map((item) => [Number(item.dataset.offset), item.lastChild.textContent]),
);

/** Colour inside the head of a pin at `position`. */
const colour = (page, { x, y }) => page.evaluate(([x, y]) => {
  const map = document.getElementById('map');
  return [...map.getContext('2d').getImageData(x - 9, y - 24, 1, 1).data.slice(0, 3)];
}, [x, y]);

const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
try {
  const first = await visit(browser);
  const before = await clues(first);
  assert.deepEqual(before, []);
  assert.equal(await first.locator('#send').isDisabled(), true, 'no place is chosen yet');

  const position = await publish(first, [0.4, 0.5, 'Look under the old crane']);
  await see(first, 'Look under the old crane');
  await first.waitForTimeout(1200);
  assert.deepEqual(await colour(first, position), [0xc0, 0x39, 0x2b], 'a pin stands where it was clicked');
  const away = await colour(first, { x: position.x + 60, y: position.y });
  assert.notDeepEqual(away, [0xc0, 0x39, 0x2b], 'and nowhere else');

  // Who joins later sees what is there, then what comes.
  const second = await visit(browser);
  await see(second, 'Look under the old crane');
  await publish(second, [0.7, 0.4, 'From the second visitor']);
  await see(first, 'From the second visitor');
  for (const clue of CLUES) await publishAsBackend(clue);
  const words = ['Look under the old crane', 'From the second visitor', ...CLUES.map((clue) => clue[2])];
  const all = words.map((text, index) => [index + 1, text]);
  for (const page of [first, second]) {
    await see(page, CLUES.at(-1)[2]);
    assert.deepEqual(await clues(page), all, 'every clue once, in order');
    assert.equal(await page.title(), 'Cluecast demo', 'words are not taken for HTML');
  }
  await first.waitForTimeout(1200);
  await first.screenshot({ path: screenshot });

  // Another hunt has another history.
  await second.locator('#hunt').fill('demo:castle');
  await second.getByRole('button', { name: 'Join' }).click();
  await second.locator('#state', { hasText: 'in demo:castle' }).waitFor();
  assert.deepEqual(await clues(second), []);
  // A namespace that is not there is said, not endured.
  await second.locator('#hunt').fill('nowhere:x');
  await second.getByRole('button', { name: 'Join' }).click();
  await second.locator('#state', { hasText: 'unknown channel (102)' }).waitFor();
  assert.deepEqual(complaints, [], 'the browser has nothing to complain of');
} finally {
  await browser.close();
}
console.log('ok');
