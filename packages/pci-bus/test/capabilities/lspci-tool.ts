/** Runs the real lspci over hex dumps, where it is installed. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const version = (): string => /version (\S+)/.exec(spawnSync("lspci", ["--version"], { encoding: "utf8" }).stdout)?.[1] ?? "";

/** Empty when the tool is there, else why not. The words of other versions differ from those in the tables. */
export const missingLspci = (): string => {
  const found = spawnSync("lspci", ["--version"]).error ? "" : version();
  if (found.startsWith("3.9")) return "";
  const reason = found === "" ? "no lspci" : `lspci is ${found}, the tables are for 3.9`;
  if (process.env.IOMMU_LAB_REQUIRE_TOOLS) throw new Error(`${reason}, but IOMMU_LAB_REQUIRE_TOOLS is set.`);
  return reason;
};

/** What `lspci -nn -vvv -xxxx` says of functions given as hex dumps. */
export const readWithLspci = (dump: string): string => {
  const folder = mkdtempSync(join(tmpdir(), "lspci-"));
  try {
    const file = join(folder, "dump.txt");
    writeFileSync(file, dump);
    const run = spawnSync("lspci", ["-nn", "-vvv", "-xxxx", "-F", file], { encoding: "latin1", maxBuffer: 2 ** 28 });
    if (run.status !== 0) throw new Error(`lspci ended with ${run.status}: ${run.stderr}`);
    return run.stdout;
  } finally {
    rmSync(folder, { recursive: true });
  }
};
