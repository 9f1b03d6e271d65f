// Package image tests the Dockerfile: it builds the image with buildah from a base that mmdebstrap makes, so no image
// registry is asked, and runs the image's own `sluice serve` until it is healthy.
package image
