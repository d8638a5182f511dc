import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import ts from "typescript";

/** A module as a CommonJS function body, and where its imports lead. */
interface Compiled {
  readonly code: string;
  /** Absolute path, or the specifier itself for what is not ours, by specifier. */
  readonly imports: Readonly<Record<string, string>>;
}

/** Modules by absolute path. */
export type ModuleMap = Record<string, Compiled>;

const root = resolve(import.meta.dirname, "../..");

/** Turns TypeScript into the body of a CommonJS module. */
export const compile = (path: string, code: string): string =>
  ts
    .transpileModule(code, { compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2023, verbatimModuleSyntax: false }, fileName: path })
    .outputText.replaceAll("import.meta.url", JSON.stringify(pathToFileURL(path).href))
    .replaceAll("import.meta.dirname", JSON.stringify(dirname(path)));

/** @throws Error when one of our packages has no such entry */
const resolveImport = (from: string, specifier: string): string => {
  if (specifier.startsWith(".")) return resolve(dirname(from), specifier);
  const own = /^@iommu-lab\/([^/]+)(\/.*)?$/.exec(specifier);
  if (!own) return specifier;
  const folder = join(root, "packages", own[1] ?? "");
  const { exports } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { exports: Record<string, { "@iommu-lab/source"?: string }> };
  const entry = exports[`.${own[2] ?? ""}`]?.["@iommu-lab/source"];
  if (entry === undefined) throw new Error(`${from} imports ${specifier}, which ${folder} does not export.`);
  return join(folder, entry);
};

/** Compiles the entries and all they import, as far as it is ours. */
export const compileAll = (entries: readonly string[]): ModuleMap => {
  const modules: ModuleMap = {};
  const pending = [...entries];
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    if (modules[path]) continue;
    if (!existsSync(path)) throw new Error(`No module ${path}.`);
    const code = compile(path, readFileSync(path, "utf8"));
    const imports = Object.fromEntries([...code.matchAll(/require\("([^"]+)"\)/g)].map(([, specifier = ""]) => [specifier, resolveImport(path, specifier)]));
    modules[path] = { code, imports };
    pending.push(...Object.values(imports).filter((target) => target.startsWith("/")));
  }
  return modules;
};

/** The modules that a change of one reaches: itself and all that import it. */
export const dependentsOf = (path: string, modules: ModuleMap): ReadonlySet<string> => {
  const found = new Set([path]);
  for (const from of found) for (const [other, { imports }] of Object.entries(modules)) if (Object.values(imports).includes(from)) found.add(other);
  return found;
};
