// A reporter for as-pect: its own summary, and one JSON line for each test in the file that DVDI_RESULTS names.
import { appendFileSync } from "node:fs";

import { SummaryReporter } from "@as-pect/core";

const TEST = 0;

class ResultsReporter extends SummaryReporter {
  onFinish(context) {
    const tests = [];
    const todos = [...context.rootNode.todos];
    // groupTests and groupTodos of as-pect stop at the first level of groups.
    context.rootNode.visit((node) => {
      todos.push(...node.todos);
      if (node.type === TEST)
        tests.push({ name: [...groupsOf(node), node.name].join(" > "), pass: node.pass && node.ran });
    });
    const line = { file: context.fileName, pass: context.pass, tests, todos };
    appendFileSync(process.env.DVDI_RESULTS, `${JSON.stringify(line)}\n`);
    super.onFinish(context);
  }
}

function groupsOf(test) {
  const names = [];
  for (let node = test.parent; node?.parent; node = node.parent) names.unshift(node.name);
  return names;
}

export default new ResultsReporter();
