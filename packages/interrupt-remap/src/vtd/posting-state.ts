/** The part of a posted-interrupt descriptor that matters for ordering. Bit i of `requests` stands for the vector of poster i. */
export interface DescriptorState {
  readonly requests: number;
  /** ON. */
  readonly outstanding: boolean;
  /** SN. */
  readonly suppressed: boolean;
  /** NV: the vector that a running processor takes as posting, or the one that wakes a blocked one. */
  readonly vector: "active" | "wake-up";
  /** NDST. */
  readonly processor: number;
}

/** A device's interrupt on its way through the remapping hardware. */
export interface PosterState {
  readonly at: "start" | "copied" | "updated" | "done";
  /** What a poster that does not lock has read. */
  readonly copy: DescriptorState | undefined;
  /** The notification to be sent, if any. */
  readonly notification: Pick<DescriptorState, "vector" | "processor"> | undefined;
}

/** Where the virtual processor is; the scheduler and the hypervisor run on the same host processor. */
type ProcessorPhase =
  /** In the guest. */
  | "guest"
  /** A notification was taken; ON is cleared and PIR drained, word by word. */
  | "clearing"
  | "draining"
  /** Out of the guest, interrupts on. */
  | "preempting"
  | "preempted"
  | "blocking"
  | "checking"
  | "blocked"
  | "loaded"
  /** Interrupts off, on the way into the guest. */
  | "entering";

/** Everything shared and every actor's place. */
export interface PostingState {
  readonly descriptor: DescriptorState;
  readonly posters: readonly PosterState[];
  readonly phase: ProcessorPhase;
  /** Next word of PIR to drain. */
  readonly word: number;
  /** ON is cleared after draining (a mistake that can be modelled). */
  readonly clearAfter: boolean;
  /** Host processor that the virtual one is on. */
  readonly processor: number;
  /** A notification waits in the local APIC of that processor. */
  readonly pending: boolean;
  /** The wake-up handler has made the blocked virtual processor runnable. */
  readonly awake: boolean;
  /** Scheduling decisions already taken. */
  readonly switches: number;
  /** Per poster, how often its vector reached the virtual APIC. */
  readonly delivered: readonly number[];
}
