/** The arbiter's choices against those of recorded kernels, which lie beside the repository; a clone without them skips this file. */
import { gunzipSync } from "node:zlib";
import { VgaArbiterDevice } from "@iommu-lab/vga-arbiter";
import { describe, expect, test } from "vitest";
import { hasShared, listShared, readShared, skippedWithoutShared } from "../../../../test/shared.ts";
import { hostVga, readSysfs, readTar, type HostSnapshot } from "../../src/index.ts";

interface Truth {
  readonly boot_vga: Readonly<Record<string, 0 | 1>>;
  readonly vga_default_by_dmesg: string | null;
  readonly vgaarb_dmesg: readonly string[];
  readonly vga_arbiter_first_read: string;
}

const open = async (archive: string): Promise<HostSnapshot> => readSysfs((await readTar(archive, gunzipSync(readShared(`snapshots/${archive}`)))).tree);
const truthOf = (archive: string): Truth => JSON.parse(new TextDecoder().decode(readShared(`snapshots/${archive.replace(".tar.gz", ".truth.json")}`))) as Truth;

/** Lines that drivers cause later; the computed log ends when the arbiter has loaded. */
const untilLoaded = (lines: readonly string[]): readonly string[] => lines.slice(0, lines.indexOf("vgaarb: loaded") + 1);

describe.skipIf(!hasShared())(`VGA of recorded hosts${skippedWithoutShared}`, () => {
  test.each(listShared("snapshots", ".tar.gz"))("%s: boot_vga, the log and the first read are the kernel's", async (archive) => {
    const snapshot = await open(archive);
    const truth = truthOf(archive);
    const vga = hostVga(snapshot);
    expect(Object.fromEntries(vga.bootVgaFiles)).toEqual(truth.boot_vga);
    expect(vga.bootVga ?? null).toBe(truth.vga_default_by_dmesg);
    expect(vga.log).toEqual(untilLoaded(truth.vgaarb_dmesg));
    expect(new VgaArbiterDevice(vga.arbiter).open().read().trimEnd()).toBe(truth.vga_arbiter_first_read);
    const shadowed = [...(snapshot.dmesg ?? "").matchAll(/pci (\S+): Video device with shadowed ROM/g)].map(([, address]) => address);
    expect(vga.shadowedRoms).toEqual(shadowed);
  });
});
