/** Recorded hosts: no crash, nothing unknown told as yes, and what their kernels said of resets and boot displays. */
import { gunzipSync } from "node:zlib";
import { formatAddress } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { hasShared, listShared, readShared, skippedWithoutShared } from "../../../../test/shared.ts";
import { diagnose } from "../../src/doctor/index.ts";
import { lspciSnapshot, parseLspci, readSysfs, readTar } from "../../src/index.ts";

interface Truth {
  readonly reset_method: Readonly<Record<string, string>>;
  readonly boot_vga: Readonly<Record<string, string | number>>;
}

const archives = listShared("snapshots", ".tar.gz");

describe.skipIf(!hasShared())(`diagnose on recorded hosts${skippedWithoutShared}`, () => {
  test.each(archives)("%s: answers are those of its kernel", async (archive) => {
    const truth = JSON.parse(new TextDecoder().decode(readShared(`snapshots/${archive.replace(".tar.gz", ".truth.json")}`))) as Truth;
    const snapshot = readSysfs((await readTar(archive, gunzipSync(readShared(`snapshots/${archive}`)))).tree);
    const { devices, host } = diagnose(snapshot, { devices: snapshot.functions.map(({ address }) => address) });
    const of = (id: string): ReadonlyMap<string, (typeof devices)[number]["results"][number]> => new Map(devices.map(({ address, results }) => [formatAddress(address), results.find((result) => result.id === id) as (typeof results)[number]]));
    const resets = of("RST-001");
    for (const [name, methods] of Object.entries(truth.reset_method)) {
      expect([name, snapshot.functions.find(({ address }) => formatAddress(address) === name)?.resetMethods?.join(" ") ?? ""]).toEqual([name, methods.trim()]);
      expect([name, resets.get(name)?.status]).toEqual([name, methods.trim() === "" ? "fail" : "pass"]);
    }
    const boot = of("VGA-001");
    for (const [name, value] of Object.entries(truth.boot_vga)) expect([name, boot.get(name)?.status]).toEqual([name, Number(value) === 1 ? "fail" : "pass"]);
    const grouped = of("GRP-001");
    for (const { address, group } of snapshot.functions) expect(grouped.get(formatAddress(address))?.status).toBe(group === undefined ? "fail" : "pass");
    // An answer that says yes says why.
    expect([...host, ...devices.flatMap(({ results }) => results)].filter(({ status, severity, evidence }) => status === "pass" && severity === "block" && evidence.length === 0)).toEqual([]);
  });

  test.each(archives)("%s: a bare listing of it is never ready", async (archive) => {
    const { tree } = await readTar(archive, gunzipSync(readShared(`snapshots/${archive}`)));
    const text = new TextDecoder().decode(tree.read("lspci-vvv-nn-xxxx.txt") ?? new Uint8Array());
    const [host] = parseLspci(text);
    expect(host).toBeDefined();
    if (!host) return;
    const { verdict, host: results } = diagnose(lspciSnapshot(host, archive));
    expect(["not-enough-data", "blocked"]).toContain(verdict);
    expect(results.find(({ id }) => id === "IRQ-001")?.status).toBe("unknown");
    expect(results.find(({ id }) => id === "HOST-014")?.status).toBe("unknown");
  });
});

describe.skipIf(!hasShared())(`diagnose on lspci texts${skippedWithoutShared}`, () => {
  test.each(listShared("lspci", ".txt"))("%s: never ready, never a crash", (file) => {
    for (const host of parseLspci(new TextDecoder().decode(readShared(`lspci/${file}`)))) {
      const snapshot = lspciSnapshot(host, file);
      expect(["not-enough-data", "blocked"]).toContain(diagnose(snapshot).verdict);
      expect(["not-enough-data", "blocked"]).toContain(diagnose(snapshot, { devices: snapshot.functions.map(({ address }) => address) }).verdict);
    }
  });
});
