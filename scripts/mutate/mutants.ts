import ts from "typescript";

/** One change to one place of one file. */
export interface Mutant {
  /** Path below the repository. */
  readonly file: string;
  readonly line: number;
  readonly operator: string;
  readonly start: number;
  readonly end: number;
  readonly original: string;
  readonly mutated: string;
  /** Stays the same while the line does: the file, the operator, the line's text, the change, and its column in that text. */
  readonly key: string;
}

type Change = readonly [operator: string, start: number, end: number, mutated: string];

const S = ts.SyntaxKind;
/** Other operators of the same kind, by operator. */
const SWAPS: Readonly<Partial<Record<ts.SyntaxKind, readonly string[]>>> = {
  [S.LessThanToken]: ["<=", ">="], [S.LessThanEqualsToken]: ["<", ">"], [S.GreaterThanToken]: [">=", "<="], [S.GreaterThanEqualsToken]: [">", "<"],
  [S.EqualsEqualsEqualsToken]: ["!=="], [S.ExclamationEqualsEqualsToken]: ["==="],
  [S.AmpersandAmpersandToken]: ["||"], [S.BarBarToken]: ["&&"],
  [S.PlusToken]: ["-"], [S.MinusToken]: ["+"], [S.AsteriskToken]: ["/", "+"], [S.SlashToken]: ["*"], [S.PercentToken]: ["*"], [S.AsteriskAsteriskToken]: ["*"],
  [S.AmpersandToken]: ["|", "^"], [S.BarToken]: ["&"], [S.CaretToken]: ["&"],
  [S.LessThanLessThanToken]: [">>>"], [S.GreaterThanGreaterThanGreaterThanToken]: ["<<"], [S.GreaterThanGreaterThanToken]: ["<<"],
  [S.PlusEqualsToken]: ["-="], [S.MinusEqualsToken]: ["+="], [S.BarEqualsToken]: ["&="], [S.AmpersandEqualsToken]: ["|="],
};
/** What only says why: a mutant there changes no behaviour. */
const EXPLANATIONS = new Set(["explain?.step", "explain.step", "explainRule", "explainStructure", "faultText"]);

const isExplanation = (node: ts.Node, source: ts.SourceFile): boolean =>
  (ts.isCallExpression(node) && EXPLANATIONS.has(node.expression.getText(source))) ||
  (ts.isIfStatement(node) && /\bexplain\b/.test(node.expression.getText(source))) ||
  (ts.isExpressionStatement(node) && isExplanation(node.expression, source)) ||
  (ts.isNewExpression(node) && node.expression.getText(source).endsWith("Error"));

const isSkipped = (node: ts.Node, source: ts.SourceFile): boolean =>
  ts.isTypeNode(node) || ts.isImportDeclaration(node) || ts.isExportDeclaration(node) || ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node) || isExplanation(node, source);

const returnTypeOf = (node: ts.Node): string | undefined => {
  for (let at = node.parent as ts.Node | undefined; at !== undefined; at = at.parent as ts.Node | undefined) if (ts.isFunctionLike(at)) return at.type?.getText();
  return undefined;
};

const isText = (node: ts.Expression): boolean => ts.isStringLiteralLike(node) || ts.isTemplateExpression(node);

const changesOf = (node: ts.Node, source: ts.SourceFile): Change[] => {
  const text = (part: ts.Node): string => part.getText(source);
  const at = (part: ts.Node): [number, number] => [part.getStart(source), part.getEnd()];
  const changes: Change[] = [];
  if (ts.isBinaryExpression(node) && !isText(node.left) && !isText(node.right)) {
    if (/^explain\b/.test(text(node))) return [];
    for (const other of SWAPS[node.operatorToken.kind] ?? []) changes.push(["operator", ...at(node.operatorToken), other]);
  }
  if (ts.isNumericLiteral(node) && !(ts.isPropertyAssignment(node.parent) && node.parent.name === node)) {
    const value = Number(node.text);
    changes.push(["number", ...at(node), `${value + 1}`]);
    if (value > 1 && value < 2 ** 31) changes.push(["bit", ...at(node), `${value ^ (1 << (31 - Math.clz32(value) >> 1))}`]);
  }
  if (node.kind === S.TrueKeyword) changes.push(["boolean", ...at(node), "false"]);
  if (node.kind === S.FalseKeyword) changes.push(["boolean", ...at(node), "true"]);
  if (ts.isIfStatement(node)) changes.push(["condition", ...at(node.expression), `!(${text(node.expression)})`]);
  if (ts.isConditionalExpression(node)) changes.push(["condition", ...at(node.condition), `!(${text(node.condition)})`]);
  if (ts.isPrefixUnaryExpression(node) && node.operator === S.ExclamationToken) changes.push(["condition", ...at(node), text(node.operand)]);
  if (ts.isPrefixUnaryExpression(node) && node.operator === S.TildeToken) changes.push(["operator", ...at(node), text(node.operand)]);
  const deletable = (ts.isExpressionStatement(node) && !text(node).startsWith("super(")) || (ts.isIfStatement(node) && !node.elseStatement) || ts.isContinueStatement(node) || (ts.isBreakStatement(node) && !ts.isCaseOrDefaultClause(node.parent));
  if (deletable) changes.push(["deletion", ...at(node), ";"]);
  const result = ts.isReturnStatement(node) ? node.expression : ts.isArrowFunction(node) && !ts.isBlock(node.body) ? node.body : undefined;
  if (result !== undefined && !ts.isNumericLiteral(result)) {
    const type = ts.isArrowFunction(node) ? node.type?.getText(source) : returnTypeOf(node);
    if (type === "boolean" && result.kind !== S.TrueKeyword && result.kind !== S.FalseKeyword) changes.push(["result", ...at(result), `!(${text(result)})`]);
    if (type === "number") changes.push(["result", ...at(result), `(${text(result)}) + 1`]);
    if (type?.endsWith("| undefined") && text(result) !== "undefined") changes.push(["result", ...at(result), "undefined"]);
  }
  if (ts.isCallExpression(node))
    for (let i = 0; i + 1 < node.arguments.length; i++) {
      const [first, second] = [node.arguments[i], node.arguments[i + 1]];
      if (!first || !second || isText(first) || isText(second) || text(first) === text(second) || /^explain\b/.test(text(second))) continue;
      changes.push(["arguments", first.getStart(source), second.getEnd(), `${text(second)}, ${text(first)}`]);
    }
  return changes;
};

/** Every mutant of a file. */
export const mutantsOf = (file: string, code: string): Mutant[] => {
  const source = ts.createSourceFile(file, code, ts.ScriptTarget.ES2023, true, ts.ScriptKind.TS);
  const lines = code.split("\n");
  const mutants: Mutant[] = [];
  const visit = (node: ts.Node): void => {
    if (isSkipped(node, source)) return;
    if (!(ts.isCallExpression(node) && node.expression.getText(source) === "explained")) for (const [operator, start, end, mutated] of changesOf(node, source)) {
      const { line, character } = source.getLineAndCharacterOfPosition(start);
      const whole = lines[line] ?? "";
      const indent = whole.length - whole.trimStart().length;
      const original = code.slice(start, end);
      mutants.push({ file, line: line + 1, operator, start, end, original, mutated, key: `${file} | ${operator} | ${whole.trim()} | ${character - indent}: ${original} -> ${mutated}` });
    }
    // explained(explain, structure, address, fault) only passes its last argument on.
    const [passedOn] = ts.isCallExpression(node) && node.expression.getText(source) === "explained" ? node.arguments.slice(-1) : [];
    if (passedOn) visit(passedOn);
    else ts.forEachChild(node, visit);
  };
  visit(source);
  return mutants;
};

/** The file's code with the change. */
export const applyMutant = (code: string, { start, end, mutated }: Mutant): string => code.slice(0, start) + mutated + code.slice(end);
