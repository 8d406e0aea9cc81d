'use strict';
// Shows the numbers of a chart under the pointer: of each series the point nearest to it.
for (const plot of document.querySelectorAll('.plot')) {
  const add = (kind) => {
    const element = document.createElement('div');
    element.className = kind;
    element.hidden = true;
    plot.append(element);
    return element;
  };
  const series = JSON.parse(plot.dataset.series);
  const rule = add('rule');
  const spots = series.map(({ name }) => add(`spot ${name}`));
  const tip = add('tip');
  const shown = [rule, tip, ...spots];

  const nearest = (points, x) => {
    let low = 0;
    let high = points.length - 1;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (points[middle][0] < x) low = middle;
      else high = middle;
    }
    return Math.abs(points[low][0] - x) <= Math.abs(points[high][0] - x) ? points[low] : points[high];
  };

  const show = (event) => {
    const box = plot.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * 1000;
    const found = series.map(({ points }) => nearest(points, x));
    const distance = (point) => Math.abs(point[0] - x);
    const closest = found.reduce((a, b) => (distance(b) < distance(a) ? b : a));
    rule.style.left = `${closest[0] / 10}%`;
    tip.replaceChildren();
    const head = document.createElement('b');
    head.textContent = `step ${closest[2].toLocaleString('en')}`;
    tip.append(head);
    found.forEach((point, i) => {
      spots[i].style.left = `${point[0] / 10}%`;
      spots[i].style.top = `${point[1] / 10}%`;
      const line = document.createElement('div');
      const where = point[2] === closest[2] ? '' : ` at ${point[2].toLocaleString('en')}`;
      line.textContent = `${series[i].name} ${point[3]}${where}`;
      tip.append(line);
    });
    const isRight = closest[0] > 500;
    tip.style.left = isRight ? 'auto' : `calc(${closest[0] / 10}% + 12px)`;
    tip.style.right = isRight ? `calc(${100 - closest[0] / 10}% + 12px)` : 'auto';
    for (const element of shown) element.hidden = false;
  };
  const hide = (event) => {
    if (event.pointerType !== 'mouse') return; // a finger leaves whenever it is lifted
    for (const element of shown) element.hidden = true;
  };
  plot.addEventListener('pointermove', show);
  plot.addEventListener('pointerdown', show);
  plot.addEventListener('pointerleave', hide);
}
