// "Did you mean": the nearest of the accepted words, where one is near.

const MAX_WORD: i32 = 40;

/** The word among `words` that `text` is a slip of (at most 2 edits, 1 in short words), or "". Case is ignored. */
export function nearest(text: string, words: string[]): string {
  if (text.length == 0 || text.length > MAX_WORD) return "";
  const lower = text.toLowerCase();
  let best = "";
  let bestDistance = i32.MAX_VALUE;
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    const longer = word.length > text.length ? word.length : text.length;
    const allowed = longer <= 2 ? 0 : longer <= 5 ? 1 : 2;
    const distance = edits(lower, word.toLowerCase(), allowed);
    if (distance <= allowed && distance < bestDistance) {
      best = word;
      bestDistance = distance;
    }
  }
  return best;
}

/** Edit distance (insert, delete, replace, swap of neighbours); `limit + 1` where it is more than `limit`. */
function edits(a: string, b: string, limit: i32): i32 {
  if (abs(a.length - b.length) > limit) return limit + 1;
  const width = b.length + 1;
  let before = new StaticArray<i32>(width);
  let above = new StaticArray<i32>(width);
  let row = new StaticArray<i32>(width);
  for (let j = 0; j < width; j++) above[j] = j;
  for (let i = 1; i <= a.length; i++) {
    row[0] = i;
    for (let j = 1; j < width; j++) {
      const same = a.charCodeAt(i - 1) == b.charCodeAt(j - 1);
      let cost = above[j - 1] + (same ? 0 : 1);
      cost = min(cost, min(above[j], row[j - 1]) + 1);
      if (i > 1 && j > 1 && a.charCodeAt(i - 1) == b.charCodeAt(j - 2) && a.charCodeAt(i - 2) == b.charCodeAt(j - 1)) {
        cost = min(cost, before[j - 2] + 1);
      }
      row[j] = cost;
    }
    const spare = before;
    before = above;
    above = row;
    row = spare;
  }
  return above[width - 1];
}
