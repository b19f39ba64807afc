// What was heard last, drawn: log-mel above, each version's score and threshold below, a mark at each of its onsets.
const COLUMNS = 1000; // that are kept
const SHARE = 0.68; // of the height that is log-mel
const STOPS = [ // from the lowest code to the highest
  [0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21], [250, 193, 39], [252, 255, 164],
];

function colour(share) {
  const at = Math.max(0, Math.min(0.9999, share)) * (STOPS.length - 1), low = Math.floor(at);
  return STOPS[low].map((value, i) => value + (at - low) * (STOPS[low + 1][i] - value));
}

export class Strip {
  #canvas; #facts; #history; #column; #palette = []; #stride; #columns; #frames; #scores; #marks; #dirty = false;
  thresholds = []; // of the versions

  constructor(canvas, facts) {
    this.#canvas = canvas;
    this.#facts = facts;
    this.#history = Object.assign(document.createElement("canvas"), { width: COLUMNS, height: facts.n_mels }).getContext("2d");
    this.#column = this.#history.createImageData(1, facts.n_mels);
    for (let code = -128; code < 128; code++) this.#palette.push(colour((code + 128) / 255));
    new ResizeObserver(() => this.draw()).observe(canvas);
    this.begin();
  }

  /** Begin anew; where the number of frames to come is known, all of them fit. */
  begin(frames = COLUMNS) {
    this.#stride = Math.max(1, Math.ceil(frames / COLUMNS));
    this.#columns = Math.ceil(frames / this.#stride);
    this.#frames = 0;
    this.#scores = this.#facts.versions.map(() => []);
    this.#marks = this.#facts.versions.map(() => []);
    this.#history.clearRect(0, 0, COLUMNS, this.#facts.n_mels);
    this.draw();
  }

  /** Take in what a version's detector answered, the first one's first: all have the same log-mel. */
  add({ codes, windows, incidents }, number) {
    if (number === 0) for (const frame of codes) this.#frame(frame);
    const scores = this.#scores[number], marks = this.#marks[number];
    for (const { frame, score } of windows) scores.push([frame / this.#stride, score]);
    for (const { onsets } of incidents) for (const onset of onsets) marks.push(onset / this.#facts.hop_length / this.#stride);
    const first = this.#frames / this.#stride - this.#columns;
    this.#scores[number] = scores.slice(scores.findIndex(([column]) => column >= first));
    this.#marks[number] = marks.filter((column) => column >= first);
    this.draw();
  }

  #frame(codes) {
    const { data } = this.#column, fresh = this.#frames % this.#stride === 0;
    codes.forEach((code, band) => {
      const pixel = 4 * (codes.length - 1 - band), [red, green, blue] = this.#palette[code + 128];
      if (!fresh && red + green + blue < data[pixel] + data[pixel + 1] + data[pixel + 2]) return; // the loudest is shown
      data.set([red, green, blue, 255], pixel);
    });
    this.#history.putImageData(this.#column, Math.floor(this.#frames / this.#stride) % COLUMNS, 0);
    this.#frames += 1;
  }

  /** Draw with the next picture of the screen. */
  draw() {
    if (this.#dirty) return;
    this.#dirty = true;
    requestAnimationFrame(() => {
      this.#dirty = false;
      this.#paint();
    });
  }

  #paint() {
    const canvas = this.#canvas, scale = devicePixelRatio;
    canvas.width = Math.max(1, Math.round(canvas.clientWidth * scale));
    canvas.height = Math.max(1, Math.round(canvas.clientHeight * scale));
    const to = canvas.getContext("2d"), style = getComputedStyle(canvas), width = canvas.width / this.#columns;
    const upper = Math.round(canvas.height * SHARE), last = Math.ceil(this.#frames / this.#stride), first = Math.max(0, last - this.#columns);
    const x = (column) => (column - first) * width, y = (score) => canvas.height - 2 - score * (canvas.height - upper - 6);
    to.imageSmoothingEnabled = false;
    const cut = first % COLUMNS, bands = this.#facts.n_mels, whole = Math.min(this.#columns, COLUMNS - cut), rest = this.#columns - whole;
    to.drawImage(this.#history.canvas, cut, 0, whole, bands, 0, 0, whole * width, upper);
    if (rest) to.drawImage(this.#history.canvas, 0, 0, rest, bands, whole * width, 0, rest * width, upper);
    to.lineWidth = 1.5 * scale;
    const two = this.thresholds.length > 1, half = (canvas.height - upper) / 2;
    this.thresholds.forEach((threshold, number) => {
      const own = number ? "--second" : "--link", top = upper + number * half;
      to.strokeStyle = style.getPropertyValue(two ? own : "--soft");
      to.setLineDash([6 * scale, 4 * scale]);
      this.#line(to, [[0, y(threshold)], [canvas.width, y(threshold)]]);
      to.setLineDash([]);
      to.strokeStyle = style.getPropertyValue(own);
      this.#line(to, this.#scores[number].map(([column, score]) => [x(column), y(score)]));
      to.strokeStyle = style.getPropertyValue(two ? own : "--alarm");
      for (const column of this.#marks[number]) this.#line(to, [[x(column), top], [x(column), two ? top + half : canvas.height]]);
    });
  }

  #line(to, points) {
    to.beginPath();
    points.forEach(([x, y], i) => (i ? to.lineTo(x, y) : to.moveTo(x, y)));
    to.stroke();
  }
}
