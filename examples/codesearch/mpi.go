//go:build mpi

package main

import (
	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/mpi"
)

func init() {
	connect = func() (contrastive.Collective, func() error, error) {
		world, err := mpi.Init()
		if err != nil {
			return nil, nil, err
		}
		return world, world.Close, nil
	}
}
