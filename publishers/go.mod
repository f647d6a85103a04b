module github.com/uow-go/uow/publishers

go 1.26.7

require github.com/uow-go/uow v0.0.0

replace github.com/uow-go/uow => ../
