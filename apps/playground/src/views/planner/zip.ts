import type { PlanFile } from "@iommu-lab/host/plan";
import { strToU8, zipSync, type Zippable } from "fflate";

/** The oldest time that zip knows: the same plan is the same archive. */
const TIME = new Date(1980, 0, 1);
const [UNIX, REGULAR] = [3, 0o100000];

/** A plan's files as a zip archive, with their permission bits. */
export const zipPlan = (files: readonly PlanFile[]): Uint8Array => {
  const entries: Zippable = {};
  for (const { path, text, mode } of files) entries[path] = [strToU8(text), { mtime: TIME, os: UNIX, attrs: ((REGULAR | mode) << 16) >>> 0 }];
  return zipSync(entries, { level: 9 });
};
