import { describe, expectTypeOf, test } from "vitest";
import { bit, layout, register, RegisterFile, ro, rw, type AddressSpace, type FlatMemory, type Gpa, type Hpa, type MemoryMap, type Pfn, type PhysicalMemory } from "../src/index.ts";

// Checked by the compiler (`tsc -p test`); nothing of it runs.
describe("types", () => {
  test("an address of one space is refused where another is wanted", () => {
    const check = (memory: FlatMemory, gpa: Gpa, hpa: Hpa, guestPage: Pfn<"GPA">): void => {
      memory.read32(hpa);
      memory.read32(hpa + 4);
      // @ts-expect-error a guest-physical address is not a host-physical address
      memory.read32(gpa);
      // @ts-expect-error a guest page number is not a host page number
      memory.page(guestPage);
    };
    expectTypeOf(check).toBeFunction();
    expectTypeOf<FlatMemory>().toExtend<PhysicalMemory>();
    expectTypeOf<MemoryMap<Gpa>>().toExtend<AddressSpace<Gpa>>();
    expectTypeOf<Gpa>().not.toExtend<Hpa>();
  });

  test("a field that a layout does not declare is refused", () => {
    const structure = layout("X", 32, "none", { P: bit(0, "Present") });
    const check = (words: Uint32Array): void => {
      structure.get.P(words);
      // @ts-expect-error no such field
      expectTypeOf(structure.get.Q).toBeNever();
      // @ts-expect-error no such field
      structure.encode({ Q: 1 });
    };
    expectTypeOf(check).toBeFunction();
    expectTypeOf<ReturnType<typeof structure.decode>>().toEqualTypeOf<{ readonly P: number }>();
  });

  test("a field or register that a register file does not have is refused", () => {
    const GCMD = register("GCMD_REG", 0, 32, { TE: rw(31, "Translation enable") }, { spec: "none" });
    const GSTS = register("GSTS_REG", 4, 32, { TES: ro(31, "Translation enable status") }, { spec: "none", reset: { TES: 0 } });
    const registers = new RegisterFile([GCMD, GSTS], { onWrite: (written) => { expectTypeOf(written.name).toEqualTypeOf<"GCMD_REG" | "GSTS_REG">(); } });
    const check = (): void => {
      registers.get("GCMD_REG", "TE");
      // @ts-expect-error that field is of the other register
      registers.get("GCMD_REG", "TES");
      // @ts-expect-error no such register
      registers.set("FSTS_REG", "TE", 1);
      // @ts-expect-error no such field
      register("X", 0, 8, { A: rw(0, "a") }, { spec: "none", reset: { B: 1 } });
    };
    expectTypeOf(check).toBeFunction();
  });
});
