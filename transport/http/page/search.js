// What a person writes to find tasks, as filters of the API: `video #nightly key:a error:"not found" older:2h flow:12`.

const TYPE = /^[\w-]{1,64}(\.[\w-]{1,64}){0,2}$/;
const WORD = /(?:[a-z]+:)?"[^"]*"|\S+/g;
const SECONDS = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400 };

const READ = {
  type: (value) => (TYPE.test(value) ? { type: value } : null),
  tag: (value) => ({ tag: value }),
  flow: (value) => (/^[1-9]\d{0,17}$/.test(value) ? { flow: Number(value) } : null),
  tenant: (value) => ({ tenant: value }),
  key: (value) => ({ key: value }),
  error: (value) => ({ error: value }),
  older: (value) => {
    const [, number, unit] = /^(\d+(?:\.\d+)?)(ms|[smhd])?$/.exec(value) ?? [];
    return Number(number) > 0 ? { older_than: Number(number) * SECONDS[unit ?? "s"] } : null;
  },
};

/** The filters that a text names, or null where a word of it means nothing. */
export function filters(text) {
  const found = {};
  for (const word of text.match(WORD) ?? []) {
    const [, name, value] = /^([a-z]+):"?([^"]+)"?$/.exec(word) ?? [];
    const read = READ[name]?.(value) ?? (word.startsWith("#") && word.length > 1 ? { tag: word.slice(1) } : TYPE.test(word) ? { type: word } : null);
    if (!read) return null;
    Object.assign(found, read);
  }
  return found;
}
