import { describe, expect, test } from "vitest";
import { Machine } from "../../src/machine/index.ts";
import { VirtualMachine } from "../../src/vm/index.ts";
import { twoDevices } from "../machine/two-devices.ts";

const guest = (layout: "type-1" | "type-2"): VirtualMachine => {
  const vm = new VirtualMachine(new Machine(twoDevices("intel")), { name: "guest", memory: 2 ** 20, layout });
  vm.run(function* (vcpu) {
    vcpu.configRead(0x20, 0, 4);
    yield;
    vcpu.load(0x9000_0000, 4);
    vcpu.store(0x1000, 4, 1);
  });
  return vm;
};

describe("the same guest on hypervisors of two types", () => {
  test("leaves the guest as often on both; its own memory costs nothing", () => {
    expect([guest("type-1").exits.total, guest("type-2").exits.total]).toEqual([3, 3]);
  });
  test("type 1 has its device models in itself, type 2 wakes a process for each", () => {
    expect([guest("type-1").exits.user, guest("type-2").exits.user, guest("type-1").exits.kernel]).toEqual([0, 3, 3]);
  });
});
