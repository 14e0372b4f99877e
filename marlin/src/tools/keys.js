// The function from a line to its key, for `msplit -e` and `msplit -j`. Whatever is thrown ends the tool.
//
// `body` is that of a function of `line`, or null where `paths`, the names of nested properties, make the key.
// With `json` the line is an object, which is `this`. `numbers` allows a key that is one.
(function (body, paths, delimiter, json, numbers) {
  'use strict';

  const parse = (line) => {
    try {
      return JSON.parse(line);
    } catch {
      throw new SyntaxError(`input is not json: ${line}`);
    }
  };

  const fromPaths = (object) => {
    let key = '';
    for (const [first, ...rest] of paths) {
      let value = object[first];
      for (const name of rest) {
        if (!value) break;
        value = value[name];
      }
      if (value === undefined) continue;
      key = (key === '' ? '' : key + delimiter) + value;
    }
    return key;
  };

  const fromBody = () => {
    const source = body.includes('return') ? body : `return (${body.replace(/;$/, '')})`;
    const call = new Function('line', source);
    return (object, line) => {
      const key = call.call(object, line);
      if (typeof key !== 'string' && !(numbers && typeof key === 'number')) {
        const allowed = numbers ? 'a string or a number' : 'a string';
        throw new TypeError(`the key must be ${allowed}, but is ${typeof key}: ${key}`);
      }
      return String(key);
    };
  };

  const keyOf = body === null ? fromPaths : fromBody();
  return (line) => keyOf(json ? parse(line) : { line }, line).toWellFormed();
})
