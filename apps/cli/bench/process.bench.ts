import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { packTree } from "@iommu-lab/host";
import type { ProcessRow } from "../../../scripts/bench/process.ts";
import { threeHundredFunctions } from "./three-hundred-functions.ts";

const main = fileURLToPath(new URL("../dist/main.js", import.meta.url));
const snapshot = join(mkdtempSync(join(tmpdir(), "iommu-lab-bench-")), "host.tar.gz");
writeFileSync(snapshot, gzipSync(await packTree(threeHundredFunctions())));

export const rows = [];

/** Whole runs of the built command. */
export const processes: readonly ProcessRow[] = [
  { name: "iommu --help", args: [main, "--help"], against: { name: "node -e 0", args: ["-e", "0"], ratio: 1.5 }, source: "README: within 1.5 times of bare Node" },
  { name: "iommu groups, 300 functions", args: [main, "groups", "--from", snapshot, "--computed", "--json"], limits: { milliseconds: 400, bytes: 150 * 2 ** 20 }, source: "400 ms (goal 200), 150 MiB" },
  { name: "iommu pci, 300 functions", args: [main, "pci", "--from", snapshot], limits: { milliseconds: 400, bytes: 150 * 2 ** 20 }, source: "400 ms (goal 200), 150 MiB" },
];
