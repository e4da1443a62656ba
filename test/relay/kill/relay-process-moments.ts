/** Where a relay can be told to die: before it publishes, once a batch has left, once it is confirmed, and around the settling. */
export const moments = ['claimed', 'publishing', 'published', 'settling', 'settled'] as const;
export type Moment = (typeof moments)[number];
