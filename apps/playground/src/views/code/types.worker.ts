import ts from "typescript";
import { FILES } from "virtual:experiment-types";
import { compile } from "./instrument.ts";
import { PLAYGROUND_TYPES } from "./playground-types.ts";

/** What is asked of it. */
export type Question = { readonly id: number; readonly source: string } & ({ readonly kind: "compile" | "check" } | { readonly kind: "complete"; readonly at: number });
/** A mistake in an experiment; offsets in characters. */
export interface Mistake {
  readonly from: number;
  readonly to: number;
  readonly line: number;
  readonly text: string;
}
/** What is offered at a place. */
export interface Offer {
  readonly label: string;
  readonly kind: string;
}
/** What it answers: what was asked for, or the error. */
export interface Reply {
  readonly id: number;
  readonly code?: string;
  readonly mistakes?: readonly Mistake[];
  readonly offers?: readonly Offer[];
  readonly error?: string;
}

const EXPERIMENT = "/experiment.ts";
const OPTIONS: ts.CompilerOptions = { strict: true, target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler, lib: ["lib.es2023.d.ts"], types: [], noEmit: true };
const MOST_OFFERS = 200;

const files: Record<string, string> = { ...FILES, "/@iommu-lab/playground/index.d.ts": PLAYGROUND_TYPES };
let [source, version] = ["", 0];

/** "@iommu-lab/memory/layout" is /@iommu-lab/memory/layout/index.d.ts; within a package "./x.js" is x.d.ts. */
const resolve = (name: string, from: string): ts.ResolvedModuleFull | undefined => {
  const path = name.startsWith(".") ? new URL(name.replace(/\.js$/, ".d.ts"), `file://${from}`).pathname : `/${name}/index.d.ts`;
  return path in files ? { resolvedFileName: path, extension: ts.Extension.Dts } : undefined;
};

const service = ts.createLanguageService({
  getCompilationSettings: () => OPTIONS,
  getScriptFileNames: () => [EXPERIMENT],
  getScriptVersion: (name) => (name === EXPERIMENT ? String(version) : "0"),
  getScriptSnapshot: (name) => {
    const text = name === EXPERIMENT ? source : files[name];
    return text === undefined ? undefined : ts.ScriptSnapshot.fromString(text);
  },
  getCurrentDirectory: () => "/",
  getDefaultLibFileName: () => "/lib.es2023.d.ts",
  fileExists: (name) => name === EXPERIMENT || name in files,
  readFile: (name) => (name === EXPERIMENT ? source : files[name]),
  resolveModuleNameLiterals: (literals, from) => literals.map(({ text }) => ({ resolvedModule: resolve(text, from) })),
});

const mistakes = (): Mistake[] =>
  [...service.getSyntacticDiagnostics(EXPERIMENT), ...service.getSemanticDiagnostics(EXPERIMENT)].map(({ start = 0, length = 0, messageText, file }) => ({
    from: start,
    to: start + length,
    line: (file?.getLineAndCharacterOfPosition(start).line ?? 0) + 1,
    text: ts.flattenDiagnosticMessageText(messageText, "\n"),
  }));

const answer = (question: Question): Omit<Reply, "id"> => {
  source = question.source;
  version++;
  switch (question.kind) {
    case "compile": return { code: compile(source) };
    case "check": return { mistakes: mistakes() };
    case "complete": return { offers: (service.getCompletionsAtPosition(EXPERIMENT, question.at, { includeCompletionsForImportStatements: true })?.entries ?? []).slice(0, MOST_OFFERS).map(({ name, kind }) => ({ label: name, kind })) };
  }
};

addEventListener("message", ({ data }: MessageEvent<Question>) => {
  let reply: Reply;
  try {
    reply = { id: data.id, ...answer(data) };
  } catch (error) {
    reply = { id: data.id, error: error instanceof Error ? error.message : String(error) };
  }
  postMessage(reply);
});
