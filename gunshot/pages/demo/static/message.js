// An incident message of firmware/src/message.h, read. The heartbeats beside it tell a page nothing.
const HEARTBEAT = 2; // a kind; 1 is an incident message
const STATES = { 1: "opened", 2: "updated", 3: "withdrawn", 4: "closed" };
const HEAD = 18, FIXED = 35, ONSETS = 2, CRC = 4;

/** Return what a message's bytes say of an incident; null of any other. Places are in samples since the session's start. */
export function incident(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const number = (at) => Number(view.getBigUint64(at, true));
  if (view.getUint8(3) === HEARTBEAT) return null;
  return {
    incident: view.getUint32(HEAD, true),
    state: STATES[view.getUint8(HEAD + 4)],
    shots: view.getUint16(HEAD + 5, true),
    onset: number(HEAD + 7),
    decided: number(HEAD + 15),
    score: view.getUint16(HEAD + 23, true) / 65535,
    spl_db: view.getInt16(HEAD + 25, true) / 10,
    onsets: onsets(view, number),
  };
}

function onsets(view, number) {
  const out = [];
  for (let at = HEAD + FIXED; at < view.byteLength - CRC; ) {
    const type = view.getUint8(at), end = at + 3 + view.getUint16(at + 1, true);
    if (type === ONSETS) for (let place = at + 3; place < end; place += 8) out.push(number(place));
    at = end;
  }
  return out;
}
