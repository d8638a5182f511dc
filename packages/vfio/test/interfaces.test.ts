import { Access } from "@iommu-lab/pci-bus";
import { describe, expect, expectTypeOf, test } from "vitest";
import { VfioError, type VfioContainer, type VfioDevice } from "../src/index.ts";

describe("interfaces of vfio", () => {
  test("a container maps any 64-bit IOVA, a device gives its regions", () => {
    expectTypeOf<VfioContainer["mapDma"]>().toBeCallableWith(0x1_0000_0000n, 0x1000, 0x1000, Access.Read | Access.Write);
    expectTypeOf<VfioDevice["setInterrupts"]>().toBeCallableWith("msix", 0, [() => undefined, undefined]);
  });
  test("a refusal carries the kernel's error code", () => {
    expect(new VfioError("EPERM", "Group 14 is not viable: 0000:01:00.1 is bound to snd_hda_intel.").code).toBe("EPERM");
  });
});
