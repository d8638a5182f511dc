/** Which unit covers what, read from firmware tables of real machines that lie beside the repository. */
import { decodeIvrsUnits } from "@iommu-lab/iommu-amd/ivrs";
import { decodeDmarUnits } from "@iommu-lab/iommu-intel/dmar";
import { describe, expect, test } from "vitest";
import { hasShared, listShared, readShared, skippedWithoutShared } from "../../../test/shared.ts";

/** Units per table as the list beside them counts: "(DRHD=2,RMRR=1)", "(0x10=1,0x11=1)". */
const counts = new Map(
  hasShared() ? [...new TextDecoder().decode(readShared("acpi/README.md")).matchAll(/^\| (\S+\.(?:dmar|ivrs)) \| .*\(([^()]*)\) \|$/gm)].map((match) => [match[1] ?? "", match[2] ?? ""] as const) : [],
);

const count = (file: string, key: string): number => Number(new RegExp(`${key}=(\\d+)`).exec(counts.get(file) ?? "")?.[1] ?? 0);

describe.skipIf(!hasShared())(`firmware tables of real machines${skippedWithoutShared}`, () => {
  test.each(listShared("acpi", ".dmar"))("%s: every unit is found, and one covers all the rest", (file) => {
    const { units } = decodeDmarUnits(readShared(`acpi/${file}`));
    expect(units).toHaveLength(count(file, "DRHD"));
    expect(units.filter(({ includeAll }) => includeAll).length).toBeLessThanOrEqual(1);
  });
  test.each(listShared("acpi", ".ivrs"))("%s: every IOMMU is found once, with its ranges closed", (file) => {
    const { units, problems } = decodeIvrsUnits(readShared(`acpi/${file}`));
    expect(units).toHaveLength(Math.max(count(file, "0x10"), count(file, "0x11"), count(file, "0x40")));
    expect(problems.filter(({ kind }) => kind === "content")).toEqual([]);
    expect(units.every(({ ranges }) => ranges.length > 0)).toBe(true);
  });
});
