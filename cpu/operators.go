package cpu

import "crnn/model"

// NewRNN implements model.Backend.
func (be *Backend) NewRNN(spec model.RNNSpec) (model.RNN, error) {
	r, err := newRNN(be, spec)
	if err != nil {
		return nil, err
	}
	if be.tiles {
		return newTiledRNN(r)
	}
	return newPanelRNN(r)
}
