/** The real lspci, for comparison; where it is not installed, suites that need it are skipped with a reason. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const installed = spawnSync("lspci", ["--version"]).status === 0;

/** Whether lspci is there. @throws Error when it is missing although IOMMU_LAB_REQUIRE_TOOLS is set */
export const hasLspci = (): boolean => {
  if (!installed && process.env.IOMMU_LAB_REQUIRE_TOOLS) throw new Error("lspci (pciutils) is not installed.");
  return installed;
};

/** Part of a suite's name. */
export const skippedWithoutLspci = installed ? "" : " (skipped: lspci is not installed)";

/** What lspci prints about the functions of a hex dump. */
export const runLspci = (dump: string, ...args: string[]): string => {
  const folder = mkdtempSync(join(tmpdir(), "iommu-lab-"));
  try {
    const file = join(folder, "dump.txt");
    writeFileSync(file, dump);
    return execFileSync("lspci", [...args, "-F", file], { encoding: "latin1", maxBuffer: 2 ** 28, stdio: ["ignore", "pipe", "ignore"] });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
};
