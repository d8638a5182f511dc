import { readState, type AppState } from "./app-state.ts";

const FORMAT = "iommu-lab-page";

/** A state as a file: for those that are too large for an address. */
export const exportState = (state: AppState): string => `${JSON.stringify({ format: FORMAT, version: 1, state })}\n`;

/** Reads such a file; nothing when the text is none. What is wrong in the state is as on the first screen. */
export const importState = (text: string): AppState | undefined => {
  if (!text.trimStart().startsWith(`{"format":"${FORMAT}"`)) return undefined;
  try {
    return readState((JSON.parse(text) as { readonly state?: unknown }).state);
  } catch {
    return undefined;
  }
};
