import type { Block, Program } from "./program.ts";

/**
 * Drops blocks of a program while what was seen is still seen: halves, then smaller pieces, then single blocks.
 * @param seen runs a candidate
 * @param deadline when to be content, as `Date.now()` counts
 */
export const shrink = async (program: Program, seen: (candidate: Program) => Promise<boolean>, deadline: number): Promise<Program> => {
  let blocks: readonly Block[] = program.blocks;
  for (let size = Math.ceil(blocks.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let end = blocks.length; end > 0 && Date.now() < deadline; end -= size) {
      const from = Math.max(end - size, 0);
      const kept = blocks.filter((block, i) => i < from || i >= end || block.required);
      if (kept.length < blocks.length && (await seen({ ...program, blocks: kept }))) blocks = kept;
    }
  }
  return { ...program, blocks };
};
