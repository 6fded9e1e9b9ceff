// The demo page: joins a hunt as a player, shows its clues on a map as they arrive, publishes new ones.
//
// A clue is {"x": 0..1, "y": 0..1, "text": "..."}, a place on the map and words. Anything else that is
// published to the hunt shows in the list alone. Words are never taken for HTML.
'use strict';

const CLUES_SHOWN = 500;
const PING_MS = 900;

const element = (id) => document.getElementById(id);
const canvas = element('map');
const pen = canvas.getContext('2d');

let client = null;
let subscription = null;
let hunt = '';
let place = null;
let pins = [];

element('join').addEventListener('submit', (event) => {
  event.preventDefault();
  join(element('hunt').value.trim()).catch((error) => tell('lost', String(error.message ?? error)));
});

canvas.addEventListener('click', (event) => {
  const box = canvas.getBoundingClientRect();
  const share = (at, from, size) => Math.round(Math.min(Math.max((at - from) / size, 0), 1) * 1000) / 1000;
  place = { x: share(event.clientX, box.left, box.width), y: share(event.clientY, box.top, box.height) };
  element('place').textContent = `Place: ${place.x}, ${place.y}`;
  mayPublish();
});

element('publish').addEventListener('submit', (event) => {
  event.preventDefault();
  const clue = { ...place, text: element('text').value };
  element('problem').textContent = '';
  subscription.publish(clue).then(
    () => {
      element('text').value = '';
      place = null;
      element('place').textContent = 'Published. Click the map for the next place.';
      mayPublish();
    },
    (error) => { element('problem').textContent = `Not published: ${error.message} (${error.code})`; },
  );
});

/** A token for a new player and the game's addresses. */
async function player() {
  const answer = await fetch('/demo/player', { method: 'POST' });
  if (!answer.ok) throw new Error(`no token: ${answer.status}`);
  return answer.json();
}

async function join(name) {
  client?.disconnect();
  hunt = name;
  pins = [];
  element('clues').replaceChildren();
  tell('joining', 'joining');
  const { urls, token } = await player();
  const here = (url) => new URL(url).hostname === location.hostname;
  const getToken = async () => (await player()).token;
  client = new Centrifuge(urls.find(here) ?? urls[0], { token, getToken });
  client.on('connecting', ({ reason }) => tell('joining', reason));
  client.on('disconnected', ({ code, reason }) => tell('lost', `${reason} (${code})`));
  client.on('error', ({ error }) => { element('problem').textContent = error.message; });
  // From the first clue on, as far as the history reaches.
  subscription = client.newSubscription(hunt, { since: { offset: 0, epoch: '' } });
  subscription.on('subscribed', ({ wasRecovering, recovered }) => {
    element('problem').textContent = wasRecovering && !recovered ? 'Earlier clues are gone.' : '';
    tell('joined', `in ${hunt}`);
  });
  subscription.on('unsubscribed', ({ code, reason }) => tell('lost', `${reason} (${code})`));
  subscription.on('publication', ({ offset, data }) => arrive(offset, data));
  subscription.subscribe();
  client.connect();
}

function tell(state, words) {
  element('state').dataset.state = state;
  element('state').textContent = words;
  mayPublish();
}

function mayPublish() {
  element('send').disabled = !(place && element('state').dataset.state === 'joined');
  draw();
}

function arrive(offset, data) {
  const isShare = (value) => typeof value === 'number' && value >= 0 && value <= 1;
  const isClue = data && isShare(data.x) && isShare(data.y) && typeof data.text === 'string';
  const item = document.createElement('li');
  const number = document.createElement('b');
  number.textContent = offset;
  item.append(number, isClue ? data.text : JSON.stringify(data));
  item.dataset.offset = offset;
  const list = element('clues');
  list.append(item);
  if (list.children.length > CLUES_SHOWN) list.firstElementChild.remove();
  if (isClue) {
    pins.push({ offset, x: data.x, y: data.y, came: performance.now() });
    if (pins.length > CLUES_SHOWN) pins.shift();
  }
  draw();
}

/** The same numbers from 0 to 1 for the same name, so that everybody's map of a hunt is the same. */
function numbersOf(name) {
  let state = 2166136261;
  for (const letter of name) state = Math.imul(state ^ letter.codePointAt(0), 16777619);
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

function stroke(colour, width, points) {
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.beginPath();
  pen.moveTo(...points[0]);
  if (points.length === 4) pen.bezierCurveTo(...points[1], ...points[2], ...points[3]);
  else pen.lineTo(...points[1]);
  pen.stroke();
}

function drawMap() {
  const { width, height } = canvas;
  const next = numbersOf(hunt);
  pen.fillStyle = '#ece5d3';
  pen.fillRect(0, 0, width, height);
  pen.fillStyle = '#c9dcb4';
  for (let park = 0; park < 5; park++) {
    pen.beginPath();
    pen.ellipse(next() * width, next() * height, 40 + next() * 70, 30 + next() * 50, next() * 3, 0, 7);
    pen.fill();
  }
  const river = [0, 1, 2, 3].map((part) => [(part * width) / 3, height * (0.15 + 0.7 * next())]);
  pen.lineCap = 'round';
  stroke('#8fb4c9', 62, river);
  stroke('#a9cbdd', 54, river);
  for (let street = 0; street < 15; street++) {
    const [from, to] = [next() * 1.2 - 0.1, next() * 0.2 - 0.1];
    const wide = street % 5 === 0 ? 9 : 5;
    const across = street % 2 === 0;
    const points = across
      ? [[0, from * height], [width, (from + to) * height]]
      : [[from * width, 0], [(from + to) * width, height]];
    stroke('#cfc4a8', wide + 2, points);
    stroke('#fffdf6', wide, points);
  }
}

function drawPin(x, y, colour, words) {
  pen.fillStyle = colour;
  pen.strokeStyle = '#ffffff';
  pen.lineWidth = 2;
  pen.beginPath();
  pen.arc(x, y - 22, 13, Math.PI * 0.85, Math.PI * 2.15);
  pen.lineTo(x, y);
  pen.closePath();
  pen.fill();
  pen.stroke();
  pen.fillStyle = '#ffffff';
  pen.font = 'bold 12px system-ui, sans-serif';
  pen.textAlign = 'center';
  pen.fillText(words, x, y - 18);
}

let drawing = 0;

/** Draws at the screen's next frame, and goes on while a new pin still pings. */
function draw() {
  cancelAnimationFrame(drawing);
  drawing = requestAnimationFrame((now) => {
    drawMap();
    const at = ({ x, y }) => [x * canvas.width, y * canvas.height];
    let busy = false;
    for (const pin of pins) {
      const age = (now - pin.came) / PING_MS;
      if (age < 1) {
        busy = true;
        pen.strokeStyle = `rgba(192, 57, 43, ${1 - Math.max(age, 0)})`;
        pen.lineWidth = 3;
        pen.beginPath();
        pen.arc(...at(pin), 6 + 34 * Math.max(age, 0), 0, 7);
        pen.stroke();
      }
      drawPin(...at(pin), '#c0392b', pin.offset);
    }
    if (place) drawPin(...at(place), '#1f6f5c', '+');
    if (busy) draw();
  });
}

draw();
