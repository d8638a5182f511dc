/** What a page frame is in use for. */
export const FrameState = {
  /** In the buddy allocator. */
  Free: 0,
  /** Allocated, one owner. */
  Used: 1,
  /** Allocated and held in place for DMA: it may be neither freed nor given away. */
  Pinned: 2,
  /** Allocated, more than one owner. */
  Shared: 3,
  /** Allocated to a guest whose balloon gave it back to the host. */
  Ballooned: 4,
} as const;
export type FrameState = (typeof FrameState)[keyof typeof FrameState];

/** Names of the states, for messages and views; `FRAME_STATE_NAMES[state]`. */
export const FRAME_STATE_NAMES = ["free", "used", "pinned", "shared", "ballooned"] as const;

/** How many frames are in each state. */
export interface FrameCounts {
  readonly free: number;
  readonly used: number;
  readonly pinned: number;
  readonly shared: number;
  readonly ballooned: number;
  readonly total: number;
}
