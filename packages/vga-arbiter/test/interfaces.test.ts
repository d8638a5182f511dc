import { parseAddress } from "@iommu-lab/pci-bus";
import { describe, expect, test } from "vitest";
import { VgaArbiterError, VgaResource, type VgaClient } from "../src/index.ts";

describe("VgaClient", () => {
  test("a card asked to give up the legacy ranges says what it still decodes", () => {
    const address = parseAddress("0000:01:00.0");
    if (!address) throw new Error("no address");
    const card: VgaClient = { address, setDecode: (legacy) => (legacy ? VgaResource.LegacyIo | VgaResource.LegacyMemory : VgaResource.None) | VgaResource.NormalMemory };
    expect(card.setDecode(false)).toBe(VgaResource.NormalMemory);
  });
  test("a refusal carries the kernel's error code", () => {
    expect(new VgaArbiterError("EBUSY", "0000:01:00.0 holds the lock.").code).toBe("EBUSY");
  });
});
