import { describe, expect, test } from "vitest";
import { hasShared, readShared, skippedWithoutShared } from "../../../../test/shared.ts";
import { ACS_ROWS, ALIAS_FUNCTION_0, ALIAS_FUNCTION_1, ALIAS_VCA, ALIAS_WHOLE_BUS, idKey, INTEL_PCH_ROOT_PORTS, INTEL_SPT_ROOT_PORTS, TRANSLATION_ROOTS, WANGXUN_NICS, ZHAOXIN_PORTS } from "../../src/groups/quirk-table.ts";

interface Quirks {
  readonly acs_enabled_table_in_order: readonly { readonly vendor: string; readonly device: string; readonly rule: string }[];
  readonly intel_pch_acs: readonly string[];
  readonly intel_spt_pch_acs: readonly string[];
  readonly zhaoxin_ports_acs: readonly string[];
  readonly wangxun_nics: readonly string[];
  readonly fixups: Readonly<Record<string, readonly string[]>>;
}

const RULES: Readonly<Record<string, string>> = {
  amd_sb_acs: "amd-southbridge", mf_endpoint_acs: "multifunction-endpoint", rciep_acs: "integrated-endpoint", intel_pch_acs: "intel-pch", intel_spt_pch_acs: "intel-spt-pch", cavium_acs: "cavium", al_acs: "root-port-always",
  qcom_rp_acs: "always", xgene_acs: "always", brcm_acs: "always", loongson_acs: "always", nxp_rp_acs: "always", zhaoxin_pcie_ports_acs: "zhaoxin", wangxun_nic_acs: "wangxun",
};
const hex = (text: string): number => Number.parseInt(text, 16);
const expand = (parts: readonly string[]): number[] => parts.flatMap((part) => { const [first = "", last = first] = part.split("-"); return Array.from({ length: hex(last) - hex(first) + 1 }, (_, i) => hex(first) + i); }).sort((a, b) => a - b);
const pairs = (list: readonly string[] | undefined): number[] => (list ?? []).map((pair) => idKey(hex(pair.slice(0, 4)), hex(pair.slice(5)))).sort((a, b) => a - b);
const sorted = (set: ReadonlySet<number>): number[] => [...set].sort((a, b) => a - b);

describe.skipIf(!hasShared())(`the quirk table against the kernel's list${skippedWithoutShared}`, () => {
  const quirks = hasShared() ? (JSON.parse(new TextDecoder().decode(readShared("specs/pci-quirks.json"))) as Quirks) : undefined;

  test("for every id of the kernel's table the same rules come in the same order", () => {
    const vendors = new Set(quirks?.acs_enabled_table_in_order.map(({ vendor }) => vendor));
    for (const vendor of vendors) {
      const rows = quirks?.acs_enabled_table_in_order.filter((row) => row.vendor === vendor) ?? [];
      for (const device of new Set([...rows.map((row) => row.device), "*"])) {
        const kernel = rows.filter((row) => row.device === "*" || row.device === device).map(({ rule }) => RULES[rule]);
        const ours = ACS_ROWS.filter((row) => row.vendor === hex(vendor) && (!row.devices || (device !== "*" && row.devices.has(hex(device))))).map(({ rule }) => rule);
        expect({ vendor, device, rules: ours }).toEqual({ vendor, device, rules: kernel });
      }
    }
  });
  test("no row covers an id that the kernel's does not", () => {
    const kernel = new Set(quirks?.acs_enabled_table_in_order.map(({ vendor, device }) => `${vendor}:${device}`));
    const ours = ACS_ROWS.flatMap(({ vendor, devices }) => [...(devices ?? [])].map((device) => `${vendor.toString(16).padStart(4, "0")}:${device.toString(16).padStart(4, "0")}`));
    expect(ours.filter((id) => !kernel.has(id))).toEqual([]);
  });
  test("lists of ports, NICs and aliases are the same", () => {
    expect(sorted(INTEL_PCH_ROOT_PORTS)).toEqual(expand(quirks?.intel_pch_acs ?? []));
    expect(sorted(INTEL_SPT_ROOT_PORTS)).toEqual(expand(quirks?.intel_spt_pch_acs ?? []));
    expect(sorted(ZHAOXIN_PORTS)).toEqual(expand(quirks?.zhaoxin_ports_acs ?? []));
    expect(sorted(WANGXUN_NICS)).toEqual(expand(quirks?.wangxun_nics ?? []));
    expect(sorted(ALIAS_FUNCTION_0)).toEqual(pairs(quirks?.fixups.quirk_dma_func0_alias));
    expect(sorted(ALIAS_FUNCTION_1)).toEqual(pairs(quirks?.fixups.quirk_dma_func1_alias));
    expect(sorted(ALIAS_VCA)).toEqual(pairs(quirks?.fixups.quirk_pex_vca_alias));
    expect(sorted(ALIAS_WHOLE_BUS)).toEqual(pairs(quirks?.fixups.quirk_plx_ntb_dma_alias));
    expect(sorted(TRANSLATION_ROOTS)).toEqual(pairs(quirks?.fixups.quirk_bridge_cavm_thrx2_pcie_root));
  });
});
