// The demo page: wires the stream to the board and the log.
//
// The whole Tidings client is `stream.js`: a native EventSource whose every message names what to fetch again.
// `?drop=1` in the page's address makes the drop button hold for 1 s instead of 5.

import { Board } from './board.js';
import { Log } from './log.js';
import { Stream } from './stream.js';

const ORDERS = [1, 2, 3, 4, 5, 6, 7, 8];
const STATES = {
  connecting: 'Connecting',
  live: 'Live',
  reconnecting: 'Reconnecting',
  dropped: 'Dropped',
  dead: 'Disconnected',
};
const NOTICE_MS = 6000;

const $ = (id) => document.getElementById(id);
const seconds = dropSeconds();
const log = new Log($('log'), $('counts'));
const board = new Board($('orders'), ORDERS, notice);
const stream = new Stream(ORDERS.map((id) => `orders/${id}`), { state, cursor, ready, message, tick, goodbye });

/** Control: the stream stands. The board is fetched only now, so that no change falls between fetch and stream. */
function ready(data, id) {
  $('connection').textContent = data.connection ?? '–';
  log.add({ kind: 'ready', text: `${data.topics?.length ?? 0} topics`, id, data });
  board.load();
}

/** An event or a resync: to the page they are one thing, "fetch this again". */
function message(data, id, replayed) {
  const topics = data.topics ?? [data.topic];
  const kind = data.resync ? 'resync' : replayed ? 'replayed' : 'event';
  log.add({ kind, topics, text: data.resync ? data.reason : data.type, id: data.resync ? '' : id, data });
  for (const topic of topics) {
    board.refresh(Number(topic.split('/')[1]));
  }
}

let beat = 0;

function tick() {
  beat = Date.now();
  showBeat();
  restart($('heartbeat'), 'beat');
}

function goodbye(data) {
  log.add({ kind: 'goodbye', text: data.reason ?? '', data });
}

function state(name) {
  document.body.dataset.state = name;
  $('state').textContent = STATES[name];
  $('reconnect').hidden = name !== 'dead';
  $('drop').hidden = name === 'dead';
  // Not `disabled`: that would take the focus from whoever has just pressed it.
  $('drop').setAttribute('aria-disabled', String(name !== 'live'));
  if (name === 'dead') {
    log.add({ kind: 'closed', text: 'for good: the answer was no stream' });
  } else if (name === 'reconnecting') {
    log.add({ kind: 'lost', text: 'the browser comes back by itself' });
  }
}

function cursor(id) {
  $('cursor').textContent = id;
  $('cursor').title = id;
}

/** Closes the stream, counts down, and resumes after the last cursor: what was missed comes as a replay. */
function drop() {
  stream.close();
  log.add({ kind: 'dropped', text: `for ${seconds} s` });
  const until = Date.now() + seconds * 1000;
  const count = () => {
    const left = until - Date.now();
    if (left <= 0) {
      label();
      stream.open();
    } else {
      $('drop').textContent = `Back in ${Math.ceil(left / 1000)} s`;
      setTimeout(count, Math.min(left, 200));
    }
  };
  count();
}

function dropSeconds() {
  const asked = Number(new URLSearchParams(location.search).get('drop'));
  return asked > 0 && asked <= 60 ? asked : 5;
}

function label() {
  $('drop').textContent = `Drop the connection for ${seconds} s`;
}

function showBeat() {
  if (beat) {
    const age = Math.round((Date.now() - beat) / 1000);
    $('heartbeat').textContent = age < 2 ? 'just now' : `${age} s ago`;
  }
}

let hiding;

function notice(text) {
  $('notice').textContent = text;
  $('notice').hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => ($('notice').hidden = true), NOTICE_MS);
}

/** Starts a CSS animation anew. */
function restart(element, name) {
  element.classList.remove(name);
  void element.offsetWidth;
  element.classList.add(name);
}

async function copy(button) {
  const code = $(button.dataset.copies);
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = 'Copied';
    setTimeout(() => (button.textContent = 'Copy'), 1500);
  } catch {
    // Without a secure origin there is no clipboard: leave the text selected.
    getSelection().selectAllChildren(code);
  }
}

$('command-curl').textContent = `curl -d '{"to":"orders/3"}' ${location.origin}/v1/publish`;
for (const button of document.querySelectorAll('[data-copies]')) {
  button.addEventListener('click', () => copy(button));
}
$('drop').addEventListener('click', () => document.body.dataset.state === 'live' && drop());
$('reconnect').addEventListener('click', () => stream.open());
setInterval(showBeat, 1000);
label();
stream.open();
