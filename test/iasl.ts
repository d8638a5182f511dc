/** ACPICA's table compiler, for comparison; where it is not installed, suites that need it are skipped with a reason. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const installed = spawnSync("iasl", ["-v"]).status === 0;

/** Whether iasl is there. @throws Error when it is missing although IOMMU_LAB_REQUIRE_TOOLS is set */
export const hasIasl = (): boolean => {
  if (!installed && process.env.IOMMU_LAB_REQUIRE_TOOLS) throw new Error("iasl (acpica-tools) is not installed.");
  return installed;
};

/** Part of a suite's name. */
export const skippedWithoutIasl = installed ? "" : " (skipped: iasl is not installed)";

const inFolder = <T>(work: (folder: string) => T): T => {
  const folder = mkdtempSync(join(tmpdir(), "iommu-lab-"));
  try {
    return work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};

export interface Disassembly {
  /** All that iasl prints on its own account. */
  readonly messages: string;
  readonly text: string;
  /** What each field's line says, by byte offset. */
  readonly fields: ReadonlyMap<number, string>;
}

export const disassemble = (table: Uint8Array): Disassembly =>
  inFolder((folder) => {
    writeFileSync(join(folder, "table.dat"), table);
    const { stdout, stderr } = spawnSync("iasl", ["-d", join(folder, "table.dat")], { encoding: "latin1" });
    const text = readFileSync(join(folder, "table.dsl"), "latin1");
    const fields = new Map([...text.matchAll(/^\[[0-9A-F]+h (\d+) +\d+\] +[^:\n]+ : (.*?)(?: \[.*)?$/gm)].map(([, offset = "", value = ""]) => [Number(offset), value.trim()] as const));
    return { messages: stdout + stderr, text, fields };
  });

/** @throws Error when iasl does not accept it */
export const compile = (source: string): Uint8Array =>
  inFolder((folder) => {
    writeFileSync(join(folder, "table.asl"), source);
    execFileSync("iasl", [join(folder, "table.asl")], { stdio: "pipe" });
    return new Uint8Array(readFileSync(join(folder, "table.aml")));
  });
