/**
 * Packs every package as it would be published and checks the result: publint, are-the-types-wrong, and an empty
 * project that installs the tarballs and imports every entry from JavaScript and from TypeScript.
 */
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly private?: boolean;
  readonly bin?: Readonly<Record<string, string>>;
  readonly publishConfig?: { readonly exports?: Readonly<Record<string, unknown>> };
  readonly dependencies?: Readonly<Record<string, string>>;
}

const root = fileURLToPath(new URL("..", import.meta.url));
const pnpm = process.env.npm_execpath;
const readJson = (path: string): Manifest => JSON.parse(readFileSync(path, "utf8")) as Manifest;

const run = (command: string, args: readonly string[], cwd: string): string => {
  const result = spawnSync(command, args, { cwd, encoding: "utf8", env: { ...process.env, PATH: `${root}node_modules/.bin:${process.env.PATH ?? ""}` } });
  if (result.status !== 0) throw new Error(`${command} ${args.join(" ")} in ${cwd} ended with ${String(result.status ?? result.error)}:\n${result.stdout}${result.stderr}`);
  return result.stdout;
};

/** Packs through pnpm, which applies publishConfig and turns workspace ranges into versions. */
const pack = (folder: string, into: string): void => {
  if (pnpm === undefined) throw new Error("Run this through pnpm: pnpm packages.");
  if (pnpm.endsWith("js")) run(process.execPath, [pnpm, "pack", "--pack-destination", into], folder);
  else run(pnpm, ["pack", "--pack-destination", into], folder);
};

/** `changeset version` on a copy of the manifests, with a change to the lowest package: every package above must be raised. */
const checkVersioning = (into: string): void => {
  const copy = join(into, "versioning");
  for (const path of run("git", ["ls-files", "package.json", "pnpm-workspace.yaml", ".changeset", "packages/*/package.json", "apps/*/package.json"], root).trim().split("\n")) {
    mkdirSync(dirname(join(copy, path)), { recursive: true });
    copyFileSync(join(root, path), join(copy, path));
  }
  writeFileSync(join(copy, ".changeset/check.md"), '---\n"@iommu-lab/memory": minor\n---\n\nA change.\n');
  run("changeset", ["version"], copy);
  const unraised = published.filter(({ folder, manifest }) => manifest.name !== "@iommu-lab/cli" && readJson(join(copy, folder.slice(root.length), "package.json")).version === manifest.version);
  if (unraised.length > 0) throw new Error(`changeset version left ${unraised.map(({ manifest }) => manifest.name).join(", ")} as they were.`);
  console.log("changeset version raises memory and every package above it");
};

const folders = ["packages", "apps"].flatMap((group) => readdirSync(join(root, group)).map((name) => join(root, group, name)));
const published = folders.map((folder) => ({ folder, manifest: readJson(join(folder, "package.json")) })).filter(({ manifest }) => !manifest.private);

const project = mkdtempSync(join(tmpdir(), "iommu-lab-packages-"));
try {
  checkVersioning(project);
  for (const { folder, manifest } of published) {
    pack(folder, project);
    run("publint", ["--strict", "--pack", "npm", folder], root);
    console.log(`publint: ${manifest.name} is fine`);
  }
  const tarballs = new Map(published.map(({ manifest }) => [manifest.name, `${manifest.name.replace("@", "").replace("/", "-")}-${manifest.version}.tgz`]));
  for (const { manifest } of published.filter((entry) => !entry.manifest.bin)) {
    run("attw", [join(project, tarballs.get(manifest.name) ?? ""), "--profile", "esm-only"], root);
    console.log(`attw: ${manifest.name} is fine`);
  }
  const local = Object.fromEntries([...tarballs].map(([name, file]) => [name, `file:./${file}`]));
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "consumer", private: true, type: "module", dependencies: local, overrides: local }));
  run("npm", ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"], project);

  const entries = published.flatMap(({ manifest }) =>
    Object.keys(manifest.publishConfig?.exports ?? {}).filter((entry) => !entry.endsWith(".json")).map((entry) => manifest.name + entry.slice(1)),
  );
  const names = entries.map((_, i) => `m${i}`);
  const imports = entries.map((entry, i) => `import * as m${i} from "${entry}";`).join("\n");
  writeFileSync(join(project, "plain.js"), `${imports}\nconsole.log([${names.join(", ")}].map((m) => Object.keys(m).length).join(" "));\n`);
  writeFileSync(join(project, "typed.ts"), `${imports}\nimport { parseAddress } from "@iommu-lab/pci-bus";\nconst address: number | undefined = parseAddress("01:00.0")?.requester;\nconsole.log(address, ${names.join(", ")});\n`);
  writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions: { target: "ES2023", module: "NodeNext", strict: true, noEmit: true, skipLibCheck: false, types: [], lib: ["ES2023", "DOM", "DOM.AsyncIterable"] }, files: ["typed.ts"] }));
  console.log(`plain JavaScript imports ${entries.length} entries; their exports: ${run(process.execPath, ["plain.js"], project).trim()}`);
  run("tsc", ["-p", "."], project);
  console.log(`TypeScript imports ${entries.length} entries without skipLibCheck`);
  const help = run(join(project, "node_modules/.bin/iommu"), ["--help"], project);
  if (!help.includes("groups")) throw new Error("The installed iommu command printed no help.");
  run(join(project, "node_modules/.bin/iommu"), ["demo"], project);
  console.log("the installed iommu command runs");
} finally {
  rmSync(project, { recursive: true, force: true });
}
