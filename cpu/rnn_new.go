package cpu

import "crnn/model"

// NewRNN implements model.Backend.
func (be *Backend) NewRNN(spec model.RNNSpec) (model.RNN, error) {
	r, err := newRNN(be, spec)
	if err != nil {
		return nil, err
	}
	if be.tiles {
		t, err := newTiledRNN(r)
		if err != nil {
			return nil, err
		}
		return t, nil
	}
	p, err := newPanelRNN(r)
	if err != nil {
		return nil, err
	}
	return p, nil
}
