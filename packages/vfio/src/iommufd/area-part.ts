import { PAGE_SIZE, type Hpa } from "@iommu-lab/memory";
import { Access } from "@iommu-lab/pci-bus";
import { VfioError } from "../vfio-error.ts";
import type { Area } from "./area.ts";
import type { IovaRange } from "./iova-range.ts";

/** Part of an area that a range has. */
export interface AreaPart {
  readonly area: Area;
  /** Pages into the area. */
  readonly from: number;
  readonly count: number;
}

/** Areas of a range up to the first gap, and whether there is none. Linux struct iopt_area_contig_iter. */
export const partsOf = (areas: readonly Area[], { start, last }: IovaRange): { readonly parts: readonly AreaPart[]; readonly whole: boolean } => {
  const parts: AreaPart[] = [];
  const end = Number(last >> 12n);
  let next = Number(start >> 12n);
  for (const area of areas) {
    if (next > end || area.first > next) break;
    const from = next - area.first;
    if (from >= area.count) continue;
    const count = Math.min(area.count - from, end - next + 1);
    parts.push({ area, from, count });
    next += count;
  }
  return { parts, whole: next > end };
};

/** Holds a part for an access. @throws VfioError EINVAL while the area goes away, EPERM for what it does not allow, EFAULT, ENOMEM */
export const holdPart = ({ area, from, count }: AreaPart, write: boolean): void => {
  if (area.closing) throw new VfioError("EINVAL", "The area is being unmapped.");
  if (!(area.access & (write ? Access.Write : Access.Read))) throw new VfioError("EPERM", `The mapping may not be ${write ? "written" : "read"}.`);
  area.pages.hold(area.skip + from, count);
  area.holders++;
};

export const letPartGo = ({ area, from, count }: AreaPart): void => {
  area.pages.letGo(area.skip + from, count);
  area.holders--;
};

/** The host page of each page of a part that is held. */
export const hostPagesOf = ({ area, from, count }: AreaPart): Hpa[] =>
  area.pages.runs(area.skip + from, count).flatMap(({ hpa, pages }) => Array.from({ length: pages }, (_, page) => hpa + page * PAGE_SIZE));
