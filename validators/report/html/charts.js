// Draws the page's charts from the tables next to them: a figure names its table (`data-table`) and its kind, the
// table's rows carry the numbers. Text only ever becomes text nodes and attributes.
/* global d3 */

(() => {
  const NARROW = 640; // pixels, below which a row's label stands above it
  const SIGN = { passed: '✓', failed: '✗', errored: '!', limited: '~' };
  const scientific = (value) => value.toExponential(1).replace(/([+-])(\d)$/, '$10$2');
  const UNITS = {
    distance: (value) => (value ? scientific(value) : '0'),
    error: (value) => scientific(value),
    time: (value) => (value < 1e-3 ? `${d3.format('.3~g')(value * 1e6)} µs` : value < 1 ? `${d3.format('.3~g')(value * 1e3)} ms` : `${d3.format('.3~g')(value)} s`),
    size: (value) => {
      const power = Math.min(Math.floor(Math.log2(Math.max(value, 1)) / 10), 3);
      return `${power ? d3.format('.1f')(value / 1024 ** power) : value} ${['B', 'KiB', 'MiB', 'GiB'][power]}`;
    },
  };

  const numeric = (text) => (text === undefined ? null : Number(text));

  function rowsOf(table) {
    return [...table.querySelectorAll('tbody tr[data-label]')].map(({ dataset }) => ({
      label: dataset.label,
      status: dataset.status,
      dot: numeric(dataset.dot),
      other: numeric(dataset.other),
      low: numeric(dataset.low),
      high: numeric(dataset.high),
      bins: JSON.parse(dataset.bins ?? '[]'),
    })).filter((row) => row.dot !== null || row.bins.length);
  }

  // Whole decades around everything that is shown; zero has no place on a logarithmic scale and stands left of it.
  function logarithmic(values) {
    const positive = values.filter((value) => value > 0);
    const [least, most] = positive.length ? d3.extent(positive) : [1e-7, 1e-6];
    const from = 10 ** Math.floor(Math.log10(least));
    return d3.scaleLog().domain([from, Math.max(10 ** Math.ceil(Math.log10(most)), from * 10)]);
  }

  // Powers of ten, or round steps of the binary unit that the sizes are told in.
  function ticksOf(scale, count) {
    const [from, to] = scale.domain();
    if (scale.base) {
      const decades = Math.round(Math.log10(to / from));
      return d3.range(0, decades + 1, Math.ceil(decades / count)).map((step) => from * 10 ** step);
    }
    const unit = 1024 ** Math.floor(Math.log2(Math.max(to, 1)) / 10);
    return d3.ticks(0, to / unit, count).map((value) => value * unit);
  }

  function frame(figure, rows, scale, format) {
    const width = Math.max(figure.clientWidth, 280);
    const narrow = width < NARROW;
    const longest = d3.max(rows, (row) => row.label.length) * 6.4 + 34;
    const left = narrow ? 12 : Math.min(longest, width * 0.42);
    const step = narrow ? 38 : 22;
    const height = rows.length * step + 34;
    scale.range([left + 24, width - (narrow ? 18 : 78)]);
    const svg = d3.create('svg').attr('viewBox', `0 0 ${width} ${height}`).attr('role', 'img')
      .attr('aria-label', `Chart of ${figure.dataset.name} for ${rows.length} rows; the table after it holds the same numbers.`);
    const ticks = ticksOf(scale, narrow ? 4 : 8);
    const axis = d3.axisBottom(scale).tickValues(ticks).tickFormat(format).tickSizeOuter(0);
    svg.append('g').attr('class', 'axis').attr('transform', `translate(0,${height - 26})`).call(axis);
    svg.append('g').attr('class', 'grid').selectAll('line').data(ticks).join('line')
      .attr('x1', scale).attr('x2', scale).attr('y1', 0).attr('y2', height - 26);
    const line = (row, index) => {
      const y = index * step + (narrow ? 26 : 12);
      const text = svg.append('text').attr('x', narrow ? 0 : left).attr('text-anchor', narrow ? 'start' : 'end')
        .attr('y', narrow ? y - 12 : y + 4);
      text.text(`${row.status in SIGN ? `${SIGN[row.status]} ` : ''}${row.label}`);
      const group = svg.append('g').attr('class', `is-${row.status ?? 'none'}`);
      group.append('title').text(row.label);
      return { group, y };
    };
    const value = (y, text) => svg.append('text').attr('class', 'value').attr('text-anchor', 'end').attr('x', width - 2)
      .attr('y', narrow ? y - 12 : y + 4).text(text);
    return { svg, line, value };
  }

  function mark(group, row, x, y) {
    if (row.status === 'failed' || row.status === 'errored') {
      group.append('path').attr('class', 'mark').attr('d', `M${x - 5},${y - 5}l10,10m0,-10l-10,10`);
    } else {
      group.append('circle').attr('class', 'mark').attr('cx', x).attr('cy', y).attr('r', 4.5);
    }
  }

  const KINDS = {
    range(figure, rows, format) {
      const scale = logarithmic(rows.flatMap(({ dot, other, low, high }) => [dot, other, low, high]));
      const place = (value) => (value > 0 ? scale(value) : scale.range()[0] - 12);
      const { svg, line, value } = frame(figure, rows, scale, format);
      rows.forEach((row, index) => {
        const { group, y } = line(row, index);
        const [from, to] = [row.low || scale.domain()[0], row.high];
        if (to) group.append('line').attr('class', 'band').attr('x1', place(from)).attr('x2', place(to)).attr('y1', y).attr('y2', y);
        [row.low, row.high].filter((value) => value > 0).forEach((value) => group.append('line').attr('class', 'end')
          .attr('x1', place(value)).attr('x2', place(value)).attr('y1', y - 7).attr('y2', y + 7));
        if (row.other !== null) {
          group.append('circle').attr('class', 'mark hollow').attr('cx', place(row.other)).attr('cy', y).attr('r', 4);
        }
        mark(group, row, place(row.dot), y);
        value(y, format(row.dot));
      });
      return svg;
    },

    strip(figure, rows, format) {
      const scale = logarithmic(rows.flatMap(({ bins, low, high }) => [...bins.map(([edge]) => edge), low, high]));
      const area = d3.scaleSqrt().domain([0, d3.max(rows, ({ bins }) => d3.max(bins, ([, count]) => count))]).range([1.5, 10]);
      const { svg, line, value } = frame(figure, rows, scale, format);
      rows.forEach((row, index) => {
        const { group, y } = line(row, index);
        if (row.high) {
          group.append('line').attr('class', 'band').attr('x1', scale(row.low || scale.domain()[0])).attr('x2', scale(row.high))
            .attr('y1', y).attr('y2', y);
          group.append('line').attr('class', 'end').attr('x1', scale(row.high)).attr('x2', scale(row.high)).attr('y1', y - 8).attr('y2', y + 8);
        }
        row.bins.forEach(([edge, count]) => group.append('circle').attr('class', 'mark').attr('fill-opacity', 0.7).attr('stroke-width', 0)
          .attr('cx', scale(edge * 10 ** 0.25)).attr('cy', y).attr('r', area(count))
          .append('title').text(`${count} from ${format(edge)} to ${format(edge * Math.sqrt(10))}`));
        value(y, d3.format(',')(d3.sum(row.bins, ([, count]) => count)));
      });
      return svg;
    },

    bar(figure, rows, format) {
      const scale = d3.scaleLinear().domain([0, d3.max(rows, ({ dot, other }) => Math.max(dot, other ?? 0)) || 1]).nice();
      const { svg, line, value } = frame(figure, rows, scale, format);
      rows.forEach((row, index) => {
        const { group, y } = line(row, index);
        group.append('rect').attr('class', 'bar').attr('x', scale(0)).attr('y', y - 6).attr('height', 12).attr('width', scale(row.dot) - scale(0));
        if (row.other !== null) {
          group.append('line').attr('class', 'end').attr('x1', scale(row.other)).attr('x2', scale(row.other)).attr('y1', y - 9).attr('y2', y + 9);
        }
        value(y, format(row.dot));
      });
      return svg;
    },
  };

  function draw(figure) {
    figure.querySelector('svg')?.remove();
    const rows = rowsOf(document.getElementById(figure.dataset.table));
    figure.hidden = !rows.length;
    if (rows.length) figure.append(KINDS[figure.dataset.kind](figure, rows, UNITS[figure.dataset.name]).node());
  }

  const figures = [...document.querySelectorAll('figure.chart')];
  let width = 0;
  const drawAll = () => {
    if (document.documentElement.clientWidth === width) return;
    width = document.documentElement.clientWidth;
    figures.forEach(draw);
  };
  addEventListener('resize', drawAll);
  drawAll();
})();
