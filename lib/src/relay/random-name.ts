/** A name that no other relay has: 80 bits of chance. */
export function randomName(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(10));
  return `relay-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}
