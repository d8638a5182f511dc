/** The examples of every README run as they stand and print what their comments say. */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../", import.meta.url));

const examples = ["packages", "apps"]
  .flatMap((group) => readdirSync(root + group).map((name) => `${group}/${name}`))
  .filter((folder) => existsSync(`${root}${folder}/README.md`))
  .flatMap((folder) => [...readFileSync(`${root}${folder}/README.md`, "utf8").matchAll(/```ts\n(\/\/ example\n.*?)```/gs)].map((match, i) => ({ name: `${folder}/README.md, example ${i + 1}`, folder, code: match[1] ?? "" })));

/** Comment lines that directly follow a line with console.log are what it prints. */
const expectedOutput = (code: string): string[] => {
  const lines = code.split("\n");
  return lines.flatMap((line, i) => {
    const before = lines.slice(0, i).findLast((other) => !other.startsWith("// "));
    return line.startsWith("// ") && before?.includes("console.log") ? [line.slice(3)] : [];
  });
};

describe("examples in the READMEs", () => {
  test("there are some", () => {
    expect(examples.map(({ folder }) => folder)).toEqual(expect.arrayContaining(["packages/memory", "packages/pci-bus", "packages/host"]));
  });
  test.each(examples)("$name runs and prints what it says", ({ folder, code }) => {
    const result = spawnSync(process.execPath, ["--conditions=@iommu-lab/source", "--input-type=module-typescript", "--eval", code], { cwd: root + folder, encoding: "utf8" });
    expect(result.stderr).toBe("");
    expect(result.stdout.trimEnd().split("\n")).toEqual(expectedOutput(code));
  });
});
