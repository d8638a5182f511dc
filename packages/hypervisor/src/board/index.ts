export { Board, type BoardCounters, type BoardParts, type Seat } from "./board.ts";
export { ImpossibleIommu, type IommuChoice } from "./iommu-choice.ts";
export type { BoardTaps, TableMemory } from "./taps.ts";
