'use strict';

const $ = id => document.getElementById(id);

// Pages are looked at for long: everything is built of text, nothing of markup.
function element(tag, text, className) {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  if (className) e.className = className;
  return e;
}

function row(...cells) {
  const tr = element('tr');
  for (const cell of cells) tr.append(cell instanceof HTMLElement ? cell : element('td', cell));
  return tr;
}

const number = (n, bad) => element('td', n.toLocaleString(), 'n' + (bad && n > 0 ? ' bad' : ''));
const moment = t => t ? new Date(t).toLocaleString() : '';

function duration(seconds) {
  if (!seconds) return '–';
  if (seconds < 60) return Math.round(seconds) + ' s';
  if (seconds < 3600) return Math.round(seconds / 60) + ' min';
  if (seconds < 172800) return (seconds / 3600).toFixed(1) + ' h';
  return Math.round(seconds / 86400) + ' d';
}

async function ask(path, options) {
  const response = await fetch(path, options);
  const body = await response.json().catch(() => ({ error: 'the answer is no JSON: ' + response.status }));
  if (!response.ok) throw new Error(body.error || response.statusText);
  return body;
}

function problem(text) {
  $('problem').textContent = text;
  $('problem').hidden = !text;
}

function partitions(cursor) {
  const now = Date.now();
  const leased = cursor.partitions.filter(p => p.leaseUntil && new Date(p.leaseUntil) > now).length;
  const relays = (cursor.members || []).length;
  return cursor.partitions.length + (leased ? ', ' + leased + ' leased' : '') + (relays ? ', ' + relays + (relays === 1 ? ' relay' : ' relays') : '');
}

function showCursors(stats) {
  $('log').textContent = 'The log ends at ' + stats.end.toLocaleString() + ' and has ' + stats.messages.toLocaleString() +
    (stats.messages === 1 ? ' message' : ' messages') + '. Updated ' + new Date(stats.at).toLocaleTimeString();
  $('cursors').replaceChildren(...stats.cursors.map(c => row(c.name, number(c.position), number(c.behind), element('td', duration(c.age), 'n'),
    number(c.retrying), number(c.waiting), number(c.parked, true), partitions(c))));
  const blockers = stats.blockers || [];
  $('blockers-section').hidden = blockers.length === 0;
  $('blockers').replaceChildren(...blockers.map(b => row(b.session, b.application || '', b.client || '', b.state || '', moment(b.since))));
}

// asking is the button that was pressed once, and asks whether that was meant.
let asking = null;

function actButton(name, message) {
  const button = element('button', name[0].toUpperCase() + name.slice(1));
  button.type = 'button';
  button.addEventListener('click', () => {
    if (name === 'discard' && asking !== button) {
      if (asking) relax();
      asking = button;
      button.textContent = 'Discard for good?';
      button.classList.add('sure');
      return;
    }
    relax();
    act(name, message, button);
  });
  button.addEventListener('blur', () => { if (asking === button) relax(); });
  return button;
}

function relax() {
  if (!asking) return;
  asking.textContent = 'Discard';
  asking.classList.remove('sure');
  asking = null;
}

async function act(name, message, button) {
  button.disabled = true;
  try {
    await ask('api/' + name, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ cursor: message.at.cursor, filter: { positions: [message.position] } }),
    });
    await look();
  } catch (e) {
    problem(name + ': ' + e.message);
    button.disabled = false;
  }
}

async function show(position) {
  try {
    const m = await ask('api/messages/' + position);
    try {
      m.text = JSON.parse(m.text); // reads better
    } catch {
      // it is no JSON, or none at all
    }
    $('detail').textContent = JSON.stringify(m, null, 2);
    $('detail-section').hidden = false;
    $('detail').focus();
  } catch (e) {
    problem(e.message);
  }
}

function parkedRow(message, allowWrites) {
  const what = element('td');
  const open = element('button', message.type + ' ' + message.id, 'link');
  open.type = 'button';
  open.addEventListener('click', () => show(message.position));
  what.append(open);
  if (message.key) what.append(element('br'), element('span', 'key ' + message.key, 'dim'));
  const acts = element('td', undefined, 'acts');
  if (allowWrites) acts.append(actButton('redrive', message), actButton('discard', message));
  return row(message.at.cursor, element('td', message.position.toLocaleString(), 'n'), what, element('td', message.at.reason || '', 'reason'),
    number(message.at.attempts || 0), moment(message.at.since), acts);
}

let shown = '';

async function showParked(stats) {
  const parked = [];
  let more = false;
  for (const cursor of stats.cursors) {
    if (cursor.parked === 0) continue;
    const page = await ask('api/messages?state=parked&limit=100&cursor=' + encodeURIComponent(cursor.name));
    parked.push(...page.messages);
    more = more || Boolean(page.next);
  }
  $('none').hidden = parked.length > 0;
  $('parked-table').hidden = parked.length === 0;
  $('more').hidden = !more;
  const now = JSON.stringify([parked, stats.allowWrites]);
  if (now === shown) return; // leave buttons alone that somebody is about to press
  shown = now;
  asking = null;
  $('parked').replaceChildren(...parked.map(m => parkedRow(m, stats.allowWrites)));
}

async function look() {
  try {
    const stats = await ask('api/stats');
    showCursors(stats);
    await showParked(stats);
    problem('');
  } catch (e) {
    problem('The outbox can not be read: ' + e.message);
  }
}

async function watch() {
  if (!document.hidden) await look();
  setTimeout(watch, 5000);
}

document.addEventListener('visibilitychange', () => { if (!document.hidden) look(); });
watch();
