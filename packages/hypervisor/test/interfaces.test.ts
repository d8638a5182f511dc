import { describe, expect, expectTypeOf, test } from "vitest";
import type { Engine, Guest, Machine, VmExit } from "../src/index.ts";

describe("interfaces of hypervisor", () => {
  test("a guest is a generator of steps on a virtual processor", () => {
    const guest: Guest = function* (vcpu) {
      vcpu.out(0x3f8, 1, 0x41);
      yield;
    };
    expect(typeof guest).toBe("function");
    expectTypeOf<Machine["createVm"]>().toBeCallableWith({ memory: 0x1000_0000, vga: "none" });
  });
  test("an exit names its reason, an engine why it cannot run", () => {
    const exit: VmExit = { reason: "fault", gpa: 0xfee0_0000 };
    const engine: Engine = { name: "none", unavailable: () => "There is nothing to run here.", start: () => Promise.resolve(), stop: () => Promise.resolve() };
    expect([exit.reason, engine.unavailable()]).toEqual(["fault", "There is nothing to run here."]);
  });
});
