// How a flow is laid out: tasks that are alike are one box, a run of one after the other is one box, boxes stand in
// layers below all that they come after. Pure: knows numbers and edges, no element and no size.

const RUN_MIN = 4; // tasks in a row that are drawn as one box

/**
 * `tasks` [{id, type}], `edges` [[task, the one it comes after, on_failure, met]], `others` [[id, state]].
 * Gives `layers` [[{key, kind, type, ids}]], kind being `one`, `alike`, `row` or `other`, and `links` [{from, to, edges}].
 */
export function arranged(tasks, edges, others) {
  const types = new Map([...others.map(([id]) => [id, ""]), ...tasks.map((task) => [task.id, task.type])]);
  const outside = new Set(others.map(([id]) => id));
  const before = sets(types), behind = sets(types);
  for (const [task, after] of edges) {
    before.get(task)?.add(after);
    behind.get(after)?.add(task);
  }
  const boxes = boxed(types, outside, before, behind);
  const boxOf = new Map(boxes.flatMap((box) => box.ids.map((id) => [id, box])));
  const links = linked(edges, boxOf);
  return { layers: layered(boxes, links), links };
}

const sets = (types) => new Map([...types.keys()].map((id) => [id, new Set()]));

function boxed(types, outside, before, behind) {
  const alike = new Map();
  for (const [id, type] of types) {
    const key = outside.has(id) ? `other ${[...behind.get(id)]}` : `${type} ${[...before.get(id)].sort()} | ${[...behind.get(id)].sort()}`;
    alike.set(key, [...(alike.get(key) ?? []), id]);
  }
  const groups = [...alike.values()];
  const single = new Set(groups.filter((ids) => ids.length === 1 && !outside.has(ids[0])).map(([id]) => id));
  const follower = (id) => {
    const [next, ...more] = behind.get(id);
    return !more.length && single.has(next) && before.get(next).size === 1 ? next : undefined;
  };
  const followed = new Set([...single].map(follower));
  const boxes = groups.filter(([id]) => !single.has(id)).map((ids) => box(outside.has(ids[0]) ? "other" : "alike", types, ids));
  for (const id of single) {
    if (followed.has(id)) continue; // it stands in the row of the one before it
    const row = [id];
    for (let next = follower(id); next !== undefined; next = follower(next)) row.push(next);
    if (row.length >= RUN_MIN) boxes.push(box("row", types, row));
    else boxes.push(...row.map((one) => box("one", types, [one])));
  }
  return boxes;
}

const box = (kind, types, ids) => ({ key: String(ids[0]), kind, type: types.get(ids[0]), ids });

/** One link for all edges between two boxes. */
function linked(edges, boxOf) {
  const links = new Map();
  for (const edge of edges) {
    const from = boxOf.get(edge[1]), to = boxOf.get(edge[0]);
    if (!from || !to || from === to) continue;
    const key = `${from.key} ${to.key}`;
    if (!links.has(key)) links.set(key, { key, from, to, edges: [] });
    links.get(key).edges.push(edge);
  }
  return [...links.values()];
}

/** Each box below all that it comes after; within a layer near to them, so that few links cross. */
function layered(boxes, links) {
  const depth = new Map(boxes.map((one) => [one, 0])), open = new Map(boxes.map((one) => [one, 0]));
  for (const link of links) open.set(link.to, open.get(link.to) + 1);
  const from = new Map(boxes.map((one) => [one, links.filter((link) => link.from === one)]));
  const ready = boxes.filter((one) => !open.get(one));
  for (let place = 0; place < ready.length; place += 1) {
    for (const { to } of from.get(ready[place])) {
      depth.set(to, Math.max(depth.get(to), depth.get(ready[place]) + 1));
      open.set(to, open.get(to) - 1);
      if (!open.get(to)) ready.push(to);
    }
  }
  const layers = Array.from({ length: Math.max(0, ...depth.values()) + 1 }, () => []);
  for (const one of boxes) layers[depth.get(one)].push(one);
  const place = new Map();
  for (const layer of layers) {
    const wish = new Map(layer.map((one) => [one, middle(links.filter((link) => link.to === one).map((link) => place.get(link.from)))]));
    layer.sort((a, b) => wish.get(a) - wish.get(b) || a.ids[0] - b.ids[0]);
    layer.forEach((one, index) => place.set(one, (index + 0.5) / layer.length));
  }
  return layers;
}

const middle = (places) => (places.length ? places.reduce((sum, one) => sum + one, 0) / places.length : 0.5);
