import { describe, expect, test } from "vitest";
import { decodeEvent, type Told } from "../src/decode/index.ts";

const ids = (told: Told): string[] => told.findings.map(({ id }) => id);
/** An event by hand: code, flags (bits 59:48), bits 47:32, device and address. */
const event = (code: bigint, flags: bigint, middle: bigint, device: bigint, address: bigint): bigint => (address << 64n) | (code << 60n) | (flags << 48n) | (middle << 32n) | device;

describe("events, AMD-Vi §2.5", () => {
  test.each<[string, bigint, object, readonly string[]]>([
    [
      "a write where nothing is mapped",
      event(2n, 0x20n, 0x11n, 0x100n, 0xfffc_0000n),
      { requester: "01:00.0", domain: 0x11, pasid: null, address: 0xfffc_0000n, flags: 0x20, flagNames: ["RW"], request: "dma", access: "write", cause: "not-mapped" },
      ["01:00.0 asked for a write at 0xfffc0000, which was blocked.", "Nothing is mapped there: the driver unmapped it too early, never mapped it, or the device computed a wrong address."],
    ],
    ["an access where nothing is mapped", event(2n, 0n, 0x11n, 0x100n, 0n), { access: null, flagNames: [], cause: "not-mapped" }, ["01:00.0 asked for an access at 0x0, which was blocked.", "Nothing is mapped there: the driver unmapped it too early, never mapped it, or the device computed a wrong address."]],
    ["a write to a read-only page", event(2n, 0x70n, 5n, 0x100n, 0x1000n), { access: "write", flagNames: ["PR", "RW", "PE"], cause: "no-permission" }, ["01:00.0 asked for a write at 0x1000, which was blocked.", "The page is mapped, but not for writes."]],
    ["a read of a write-only page", event(2n, 0x50n, 5n, 0x100n, 0x1000n), { access: "read", cause: "no-permission" }, ["01:00.0 asked for a read at 0x1000, which was blocked.", "The page is mapped, but not for reads."]],
    ["reserved bits", event(2n, 0x90n, 5n, 0x100n, 0x1000n), { cause: "reserved-bits", flagNames: ["PR", "RZ"] }, ["01:00.0 asked for a read at 0x1000, which was blocked.", "A table entry on the way has reserved bits set."]],
    ["a bad level", event(2n, 0x30n, 5n, 0x100n, 0x1000n), { cause: "level-invalid" }, ["01:00.0 asked for a write at 0x1000, which was blocked.", "A table entry on the way has a level or page size that is not allowed."]],
    ["an interrupt without entry", event(2n, 0x8n, 0n, 0x100n, 0xffff_fffd_f800_0000n), { request: "interrupt", access: null, cause: "interrupt-not-mapped", address: 0xffff_fffd_f800_0000n }, ["01:00.0 sent an interrupt at 0xfffffffdf8000000, which was blocked.", "There is no valid interrupt remapping entry for it."]],
    ["an interrupt with a bad entry", event(2n, 0x98n, 0n, 0x100n, 0n), { cause: "interrupt-entry-reserved" }, ["01:00.0 sent an interrupt at 0x0, which was blocked.", "Its interrupt remapping entry has reserved bits or values."]],
    ["an interrupt that is refused", event(2n, 0x18n, 0n, 0x100n, 0n), { cause: "interrupt-refused" }, ["01:00.0 sent an interrupt at 0x0, which was blocked.", "Its interrupt remapping entry is valid, but the interrupt is not allowed."]],
    ["a PASID", event(2n, 0x1n, 0x2345n, 0x1_0100n, 0x1000n), { domain: null, pasid: 0x1_2345, flagNames: ["GN"] }, ["01:00.0 with PASID 0x12345 asked for an access at 0x1000, which was blocked.", "Nothing is mapped there: the driver unmapped it too early, never mapped it, or the device computed a wrong address."]],
    ["a bad device table entry", event(1n, 0xa0n, 0n, 0x100n, 0x1000n), { flagNames: ["RW", "RZ"] }, ["The device table entry of 01:00.0 has reserved bits or values; its write at 0x1000 was blocked."]],
    ["a device table that cannot be read", event(3n, 0x400n, 0n, 0x100n, 0x2000n), { error: "target abort" }, ["Reading the device table entry for 01:00.0 at 0x2000 failed: it was target-aborted."]],
    ["a page table that cannot be read", event(4n, 0x200n, 7n, 0x100n, 0x2000n), { error: "master abort", domain: 7 }, ["Reading a page table entry for 01:00.0 at 0x2000 failed: it was master-aborted."]],
    ["a bad command", event(5n, 0n, 0n, 0n, 0x3000n), { requester: null, address: 0x3000n }, ["The command at 0x3000 is none, or has reserved bits set: the IOMMU stopped there and takes no more commands."]],
    ["a command that cannot be read", event(6n, 0x600n, 0n, 0n, 0x3000n), { error: "data error" }, ["Reading the command at 0x3000 failed: its data was damaged."]],
    ["a device-TLB that does not answer", event(7n, 0n, 0n, 0x100n, 0x3000n), {}, ["The device-TLB of 01:00.0 did not answer the invalidation (the command at 0x3000) in time: the device hangs, or has lost its link."]],
    ["a read of the interrupt range", event(8n, 0n, 0n, 0x100n, 0xfee0_0000n), { requestType: 0 }, ["01:00.0 sent a read or non-posted write in the interrupt address range at 0xfee00000, which was blocked."]],
    ["a pretranslated request", event(8n, 0x200n, 0n, 0x100n, 0x1000n), { requestType: 1 }, ["01:00.0 sent a pretranslated request that it may not send at 0x1000, which was blocked."]],
    ["a translation request", event(8n, 0x300n, 0n, 0x100n, 0x1000n), { requestType: 1 }, ["01:00.0 sent a translation request at 0x1000 that it may not send, which was blocked."]],
    ["a page request", event(9n, 0x100n, 0x0403n, 0x2345_0100n, 0x1000n), { pasid: 0x1_2345 }, ["01:00.0 with PASID 0x12345 sent a page request at 0x1000 that is not allowed."]],
    ["a counter", event(10n, 0n, 0n, 0n, 5n), { address: null }, ["A performance counter ran over."]],
    ["an RMP fault", event(13n, 0n, 1n, 0x100n, 0x1000n), {}, ["01:00.0 asked for memory at 0x1000 that belongs to another owner by the reverse map table (SEV-SNP); it was blocked."]],
  ])("%s", (_what, value, facts, meaning) => {
    const told = decodeEvent(value);
    expect(told.structure.facts).toMatchObject(facts);
    expect(told.structure.meaning).toEqual(meaning);
    expect(told.findings).toEqual([]);
  });
  test("flags that the event does not have are named", () => {
    expect(ids(decodeEvent(event(2n, 0x200n, 0n, 0x100n, 0n)))).toEqual(["reserved-bits"]);
  });
  test.each([[0n, "not written yet"], [0xb000_0000_0000_0000n, "not known"]])("codes that are none: %i", (value, text) => {
    expect(decodeEvent(value).findings).toMatchObject([{ id: "event-code-unknown", text: expect.stringContaining(text) as string }]);
  });
});
