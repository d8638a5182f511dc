/** Types of what only experiments have. */
export const PLAYGROUND_TYPES = `
import type { Stage } from "@iommu-lab/hypervisor/scenarios";
export { CARD, laboratory, slot, type Stage } from "@iommu-lab/hypervisor/scenarios";
/** Shows values below the editor. */
export declare function print(...values: unknown[]): void;
/**
 * Plays a scenario of your own: its machines, requests, faults and statements appear in every view.
 * @param title what it is called
 * @param play  is given a stage: make machines, say what happens, check what must hold
 */
export declare function scenario(title: string, play: (stage: Stage) => void): void;
`;
