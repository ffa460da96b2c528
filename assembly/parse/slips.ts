// Members that are nearly those that are read: what is passed over without a word is a volume that a workload runs without.
import { Node } from "../json/reader";
import { show } from "../json/text";
import { didYouMean } from "../model/errors";
import { Failure } from "../model/result";

/** Why an object that lacks the member `word` has one that was meant to be it; null where it has none. `whose`: who knows no such member. */
export function misspelt(node: Node, word: string, whose: string): Failure | null {
  if (node.has(word)) return null;
  const keys = node.keys();
  for (let i = 0; i < keys.length; i++) {
    if (didYouMean(keys[i], [word]).length == 0) continue;
    node.refuse('has "' + show(keys[i]) + '", which ' + whose + " does not know", 'did you mean "' + word + '"?');
    return node.failure;
  }
  return null;
}
