import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const packages = fileURLToPath(new URL("../../../packages", import.meta.url));

/** A text as the source has it, holes numbered, and where. */
export type Said = ReadonlyMap<string, string>;

const filesIn = (folder: string): string[] => readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts")).map((name) => join(folder, name)).toSorted();
/** Places in specifications, and lists of device IDs. */
const NO_TEXT = /^(?:AMD-Vi|VT-d|AMD64 APM|Intel SDM)[^:]* §[^:]*$|^[0-9a-f :-]+$/;
/** Two words at least, one of them no name. */
const isSentence = (text: string): boolean => !NO_TEXT.test(text) && text.trim().includes(' ') && /(?<![A-Za-z])[a-z]{2,}/.test(text.replaceAll(/\{\d+\}/g, ""));
const isWord = (text: string): boolean => /^ ?[a-z][a-z' ,-]{2,}$/.test(text);

/** The parts of a text that is put together by `+` or in a template: strings, and expressions between them. */
const partsOf = (node: ts.Expression): (string | ts.Expression)[] => {
  if (ts.isParenthesizedExpression(node)) return partsOf(node.expression);
  if (ts.isStringLiteralLike(node)) return [node.text];
  if (ts.isTemplateExpression(node)) return [node.head.text, ...node.templateSpans.flatMap(({ expression, literal }) => [expression, literal.text])];
  if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.PlusToken) return [...partsOf(node.left), ...partsOf(node.right)];
  return [node];
};

/** Calls whose arguments nobody reads. */
const SILENT = new Set(["get", "has", "set", "includes", "startsWith", "endsWith", "indexOf", "split", "join", "padStart", "padEnd", "test", "exec", "match", "replace", "replaceAll", "find", "toString"]);
const isSilent = (node: ts.Node): boolean => ts.isCallExpression(node.parent) && ts.isPropertyAccessExpression(node.parent.expression) && SILENT.has(node.parent.expression.name.text);
const isCompared = (node: ts.Node): boolean => ts.isBinaryExpression(node.parent) && /===|!==/.test(node.parent.operatorToken.getText());

/**
 * Every sentence that the packages' sources have, and every word that is put into one: found by reading the sources, so that one
 * that was added yesterday is found too.
 * @param folders below `packages`, as "host/src/doctor"
 */
export const saidIn = (folders: readonly string[]): Said => {
  const said = new Map<string, string>();
  for (const file of folders.flatMap((folder) => (folder.endsWith(".ts") ? [join(packages, folder)] : filesIn(join(packages, folder))))) {
    const source = ts.createSourceFile(file, readFileSync(file, "utf8"), ts.ScriptTarget.Latest, true);
    const visit = (node: ts.Node, inHole: boolean): void => {
      if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node) || ts.isTypeNode(node) || ts.isCaseClause(node.parent) && node.parent.expression === node) return;
      if (ts.isElementAccessExpression(node)) { visit(node.expression, inHole); return; }
      if (ts.isStringLiteralLike(node) || ts.isTemplateExpression(node) || (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.PlusToken)) {
        const parts = partsOf(node);
        if (parts.some((part) => typeof part === "string")) {
          let hole = 0;
          const key = parts.map((part) => (typeof part === "string" ? part : `{${hole++}}`)).join("");
          if (!isSilent(node) && !isCompared(node) && !(ts.isPropertyAssignment(node.parent) && node.parent.name === node) && (isSentence(key) || (inHole && isWord(key)) || (key.includes("{") && /[a-z]{3,}/.test(key) && inHole))) said.set(key, `${relative(packages, file)}:${source.getLineAndCharacterOfPosition(node.getStart()).line + 1}`);
          for (const part of parts) if (typeof part !== "string") visit(part, true);
          return;
        }
      }
      ts.forEachChild(node, (child) => { visit(child, inHole); });
    };
    ts.forEachChild(source, (child) => { visit(child, false); });
  }
  return said;
};
